"""The project's pages, and the commands and snippets in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for place in (".", "conf", "distill", "tests")
    for path in sorted((ROOT / place).glob("*.md" if place == "." else "**/*.md"))
    if path.name not in ("CHANGELOG.md", "LOG.md")
]
COMMANDS = list(
    dict.fromkeys(
        command.strip()
        for page in PAGES
        for command in re.findall(r"(?:^ {4,}.*?|`|&& )python -m distill ([^`\n]+)", page.read_text(), re.MULTILINE)
    )
)
"""What follows `python -m distill`, each once."""
SNIPPETS = [code for page in PAGES for code in re.findall(r"```python\n(.+?)```", page.read_text(), re.DOTALL)]
