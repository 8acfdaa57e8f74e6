"""Commands on what is finished: evaluate, export, import, record, starts, bench."""
