"""What a person types and reads: arguments, configs, mistakes, progress."""
