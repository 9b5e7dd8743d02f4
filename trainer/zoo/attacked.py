"""Give a shipped bundle its attacked golden windows: ``python -m trainer.zoo.attacked [NAME...]``.

``trainer export`` stores them by itself; this is for bundles that were exported before it did.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge.bundle import Bundle, read_bundle
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import robust_accuracy
from edge.zoo import names, resolve_bundle
from trainer.evaluate.subject import open_subject
from trainer.export import attacked
from trainer.zoo.rewrite import rewrite


def add(path: Path, name: str) -> Bundle:
    """Write the bundle anew with attacked windows from its twin in the zoo."""
    subject = open_subject(name)
    return rewrite(path, attacked=attacked.windows(subject.twin, read_bundle(path), subject.spec))


def main(wanted: list[str]) -> int:
    """All shipped bundles, or those named; print what each keeps."""
    for name in wanted or names():
        bundle = add(resolve_bundle(name), name)
        kept = robust_accuracy(bundle, Classifier(bundle))
        assert bundle.attacked is not None
        sys.stdout.write(f"{name}: keeps {kept:.3f} of its answers at {bundle.attacked.epsilon:g}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
