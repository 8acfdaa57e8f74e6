"""The paper's numbers, tables, figures and page, from our own runs."""
