"""Hours of play: of a teacher that stays as it is, recorded; of a module that learns, a little at a time."""
