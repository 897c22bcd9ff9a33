// The compiler takes functions without a body, see setUpChroot, in a package with assembly only.
