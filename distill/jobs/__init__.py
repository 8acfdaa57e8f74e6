"""Many runs: online, sweep, reproduce."""
