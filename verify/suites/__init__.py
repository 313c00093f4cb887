"""What each component is verified with: designs, stimuli, expected values from estimators, formats and simulators."""
