"""What somebody with bad intentions would write into a store that others look at."""

from __future__ import annotations

import json

SCRIPT = "<script>window.harmed=1</script>"
ATTRIBUTE = '"\' onmouseover=alert(1) autofocus onfocus=alert(1) harm="><img src=x onerror=window.harmed=1>'
BIDI = "safe\u202egnp.exe\u2066\u200b\u2028\x1b[31m\x00"
TEMPLATE = "{{ site.store }}{{ 90001*90001 }}{% raw %}${90001*90001}"
EVALUATED = str(90001 * 90001)
KEY = f"/registry/default/{SCRIPT}{ATTRIBUTE}{BIDI}".replace("\x00", "").replace("/script", "\\script") + "/id@10.0.0.1"


def hostile_instance(size: int = 2**20) -> bytes:
    """The entry of an instance with script in every field, 1 MiB of metadata, and characters that turn text around."""
    evil = SCRIPT + ATTRIBUTE + BIDI + TEMPLATE
    fields = {
        "id": evil,
        "host": evil,
        "host_name": evil,
        "port": 1,
        "service_name": evil,
        "meta": {
            "status": evil,
            "zone": evil,
            "version": evil,
            evil: [evil, {evil: evil}],
            "large": "\u0301x" * (size // 3),
        },
    }
    return json.dumps(fields).encode()
