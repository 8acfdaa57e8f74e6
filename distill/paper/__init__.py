"""The paper's experiments, tables and figures, from our own runs."""
