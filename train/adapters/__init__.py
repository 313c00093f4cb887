"""Callbacks that run the schedule of quantisers inside other people's training loops; each needs its own package."""
