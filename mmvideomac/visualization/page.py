"""Pages of one file: style, pictures and all else are inside."""

from __future__ import annotations

import base64
from datetime import datetime
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(template: str, title: str, refresh: float | None = None, **values: object) -> str:
    """A page for any screen, light and dark, and for paper.

    Args:
        template: File in ``templates/`` that extends ``base.html``.
        title: Heading.
        refresh: Seconds after which the page loads itself again.
        **values: What the template names. Text is escaped; ``markupsafe.Markup`` is not.
    """
    date = datetime.now().strftime('%d %B %Y, %H:%M')
    return (
        _environment()
        .get_template(template)
        .render(title=title, date=date, refresh=refresh, **values)
    )


def data_uri(data: bytes, kind: str) -> str:
    """A file as an address that holds it, for the page to need no other file.

    Args:
        data: Content.
        kind: MIME type, ``'image/jpeg'``.
    """
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'


@lru_cache
def _environment() -> Environment:
    loader = PackageLoader('mmvideomac.visualization')
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
