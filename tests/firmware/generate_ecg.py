"""Writes firmware_bridge/firmware/cortex-m/ecg.h: what the emulated board plays. Run by hand to change it.

    python -m tests.firmware.generate_ecg

Two synthetic records of 30 s, one in sinus rhythm and one in atrial fibrillation; no person's heart is in it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.data import synthetic

HEADER = Path(__file__).parents[2] / "firmware_bridge" / "firmware" / "cortex-m" / "ecg.h"
SECONDS = 30.0
SEED = 5
RECORDS = (("normal", 68.0), ("af", 84.0))


def record(rhythm: str, rate_bpm: float) -> np.ndarray:
    """(n,) int16 in uV."""
    rng = np.random.default_rng([SEED, synthetic.RHYTHMS.index(rhythm)])
    heart = synthetic.Heart(rate_bpm=rate_bpm)
    return np.asarray(np.round(synthetic.record(rhythm, SECONDS, rng, heart)[:, 0]), np.int16)


def main() -> None:
    rows = []
    for rhythm, rate_bpm in RECORDS:
        values = record(rhythm, rate_bpm)
        rows.append(f"    {{ /* {rhythm}, {rate_bpm:g} beats a minute */")
        for start in range(0, len(values), 20):
            rows.append("        " + ", ".join(str(v) for v in values[start : start + 20]) + ",")
        rows.append("    },")
    HEADER.write_text(
        "/* Made by tests/firmware/generate_ecg.py: synthetic ECG, microvolts, 300 Hz. */\n"
        "#ifndef ECG_H\n#define ECG_H\n\n#include <stdint.h>\n\n"
        f"#define ECG_RECORDS {len(RECORDS)}\n#define ECG_SAMPLES {round(SECONDS * synthetic.RATE_HZ)}\n\n"
        "static const int16_t ecg[ECG_RECORDS][ECG_SAMPLES] = {\n" + "\n".join(rows) + "\n};\n\n#endif\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
