"""How fast this machine plays and learns, beside its own limits and beside a rival."""
