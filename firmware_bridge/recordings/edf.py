"""Recordings in EDF files, by the edfio package (extra ``formats``)."""

from __future__ import annotations

import io

import numpy as np

from firmware_bridge.errors import RecordingError
from firmware_bridge.messages import MAX_CHANNELS, Channel
from firmware_bridge.recordings.base import Recording
from firmware_bridge.recordings.files import Files
from firmware_bridge.recordings.tables import unique_names
from firmware_bridge.units import clean_name, clean_unit, microvolts, wire_exact


def read_edf(files: Files, name: str, record: str) -> Recording:
    """The signals of an EDF file that share the first signal's rate; annotations are left out."""
    where = f"{files.source}: {name}"
    try:
        import edfio  # an extra, and slow to import
    except ImportError as error:
        raise RecordingError(f"{where}: needs the edfio package: pip install 'wavewall[formats]'") from error
    try:
        edf = edfio.read_edf(io.BytesIO(files.read(name)))
        signals = list(edf.signals)
        rates = [float(signal.sampling_frequency) for signal in signals]
        picked = [s for s, rate in zip(signals, rates, strict=True) if rate == rates[0]]
        if not 0 < len(picked) <= MAX_CHANNELS:
            raise RecordingError(f"{where}: {len(picked)} signals of one rate, must be 1 to {MAX_CHANNELS}")
        digital = np.stack([np.asarray(signal.digital, dtype=np.int16) for signal in picked], axis=1)
        channels = []
        for index, signal in enumerate(picked):
            unit, factor = microvolts(str(signal.physical_dimension))
            low, high = signal.physical_range
            dig_low, dig_high = signal.digital_range
            scale = (high - low) / (dig_high - dig_low) * factor
            offset = low * factor - dig_low * scale
            label = clean_name(str(signal.label), index)
            channels.append(Channel(label, clean_unit(unit), wire_exact(scale), wire_exact(offset)))
    except RecordingError:
        raise
    except Exception as error:  # edfio raises many kinds on damaged files
        raise RecordingError(f"{where}: edfio cannot read it: {error}") from error
    return Recording(record, rates[0], unique_names(channels), digital=digital)
