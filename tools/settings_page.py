"""Print docs/settings.md: every environment variable, from the fields of `tilewright.ir.settings`."""

from __future__ import annotations

from dataclasses import fields

from tilewright.ir.settings import Settings, variable

HEAD = """# Settings

Environment variables, read once by a process. An empty one counts as not set; an unknown one with the prefix
`TILEWRIGHT_` is an error, so that a misspelt setting is not ignored. This page is printed by `tools/settings_page.py`.

| variable | values | default | meaning |
| --- | --- | --- | --- |"""


def page() -> str:
    """Give the page as Markdown."""
    rows = (
        f"| `{variable(f.name)}` | {f.metadata['read'].__doc__} | `{f.default}` | {f.metadata['sentence']} |"
        for f in fields(Settings)
    )
    return "\n".join([HEAD, *rows])


if __name__ == "__main__":
    print(page())
