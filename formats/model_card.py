"""Model cards in Markdown, with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# Entries of a card that its author may write, with the text where nothing is stated.
ENTRIES = {
    "summary": "",
    "data": "Not stated.",
    "measures": "Not stated.",
    "limits": "Not stated. Measure the weights on your own data before relying on them.",
    "licence": "unknown",
}
# Beginnings of licences as people write them, in lower case → the hub's identifiers.
LICENCES = {
    "apache-2.0": "apache-2.0",
    "cc0": "cc0-1.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "mit": "mit",
    "bsd-3-clause": "bsd-3-clause",
    "unknown": "unknown",
}


def model_card(module: str, card: Mapping[str, Any], tags: Sequence[str]) -> str:
    """Return the model card of trained weights.

    Args:
        module: Class of the module.
        card: Entries of ``ENTRIES``, and ``network``, the settings of the network.
        tags: Tags for the hub.
    """
    licence = str(card["licence"])
    known = next((name for start, name in LICENCES.items() if licence.lower().startswith(start)), None)
    front: dict[str, Any] = {"license": known or "other", **({} if known else {"license_name": licence})}
    front |= {"library_name": "trilight", "tags": ["trilight", *tags]}
    network = "\n".join(f"| {name} | {value} |" for name, value in card["network"].items())
    summary = str(card["summary"])
    return f"""---
{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---

# {module}

{summary[:1].upper()}{summary[1:].rstrip(".")}.

```python
import trilight

module = trilight.{module}.from_pretrained("hf://OWNER/NAME")  # or the path of this folder
```

## Training data

{card["data"]}

## Limits

{card["limits"]}

## Measures

{_indented(card["measures"])}

## Licence

{licence}

## Network

| setting | value |
|---|---|
{network}
"""


def _indented(measures: Any) -> str:
    """Return text as it is, and tables of numbers as indented YAML."""
    if isinstance(measures, str):
        return measures
    lines = yaml.safe_dump(measures, sort_keys=False, allow_unicode=True, width=100).splitlines()
    return "\n".join(f"    {line}" for line in lines)
