"""What of the processor is asked for, and given back."""

from __future__ import annotations

import pytest
import torch

from lora3d.device import flushing_denormals


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this CPU cannot flush denormal numbers")
def test_numbers_too_small_to_be_normal_are_zero_for_as_long_as_was_asked():
    small = torch.tensor([1e-30], dtype=torch.float32)
    assert (small * 1e-9).item() > 0
    with pytest.raises(RuntimeError), flushing_denormals():
        assert (small * 1e-9).item() == 0
        raise RuntimeError
    assert (small * 1e-9).item() > 0
