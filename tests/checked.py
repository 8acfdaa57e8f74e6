"""The type checker that tests run under: jaxtyping's shapes and all annotations, an int passing for a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
