"""What happens between hours: Lightning callbacks, named by `class_path` in conf/."""
