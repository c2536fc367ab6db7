"""JSON that stays data wherever a page puts it, also between <script> and </script>."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse

# In JSON these occur only within strings, where an escape means the same. `<` begins every end of a script
# block; U+2028 and U+2029 end lines in old JavaScript.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def to_json(value: Any) -> str:
    """`value` as compact JSON without <, > and &."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


class PageSafeResponse(JSONResponse):
    """A JSON answer that pages may embed."""

    def render(self, content: Any) -> bytes:
        return to_json(content).encode()
