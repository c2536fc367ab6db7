"""charts/coturn's start script, with its directories below a directory of the test."""

from __future__ import annotations

from pathlib import Path

_SCRIPT = Path(__file__).parents[2] / "charts/coturn/scripts/run.sh"


def run_script(directory: Path) -> Path:
    """Write the script to `directory`, and create the directories that it reads and writes.

    `run` and `reports` are the pod's volumes; `tls` is the mounted certificate, still empty.
    """
    for name in ("run", "reports", "tls"):
        (directory / name).mkdir(exist_ok=True)
    text = _SCRIPT.read_text()
    for of_the_pod, here in (
        ("/run/coturn", directory / "run"),
        ("/run/reports", directory / "reports"),
        ("TLS=/tls\n", f"TLS={directory / 'tls'}\n"),
        ("/scripts/", f"{_SCRIPT.parent}/"),
    ):
        assert of_the_pod in text
        text = text.replace(of_the_pod, str(here))
    script = directory / "run.sh"
    script.write_text(text)
    return script


def put_program(directory: Path, name: str, text: str) -> None:
    """Write an executable to the directory `bin`, which the script must find on PATH."""
    program = directory / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(text)
    program.chmod(0o755)
