"""Groups of N:M sparsity: the compiled part of `tetrit.estimators.deterministic.n_of_m` and of SR-STE."""
