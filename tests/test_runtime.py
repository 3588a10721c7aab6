"""The choices of device and precision, and randomness that needs no saving."""

from __future__ import annotations

import pytest
import torch

from lstm_cli.errors import ConfigError
from lstm_cli.runtime import RuntimeConfig, seed_step, start


@pytest.mark.parametrize(
    ("amx", "avx", "onednn", "precision"),
    [
        (True, True, True, "bf16"),
        (False, True, True, "bf16"),
        (False, False, True, "fp32"),
        (True, True, False, "fp32"),
    ],
)
def test_auto_takes_bf16_where_the_cpu_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx: bool, onednn: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    monkeypatch.setattr("lstm_cli.runtime._cpu_can_bf16", lambda: onednn)
    chosen = start(RuntimeConfig(device="cpu", threads=1))
    assert chosen.precision == precision
    assert precision in chosen.why


def test_a_torch_that_does_not_know_its_cpu_gets_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert start(RuntimeConfig(device="cpu", threads=1)).precision == "fp32"


def test_bf16_is_refused_where_the_cpu_cannot_run_it_but_not_to_one_that_only_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = RuntimeConfig(device="cpu", precision="bf16", threads=1)
    monkeypatch.setattr("lstm_cli.runtime._cpu_can_bf16", lambda: True)
    assert start(config).precision == "bf16"
    monkeypatch.setattr("lstm_cli.runtime._cpu_can_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"run\.precision: bf16 needs a CPU with AVX-512"):
        start(config)
    assert start(config, trains=False).precision == "fp32"


def test_what_is_asked_for_is_taken_or_refused() -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        start(RuntimeConfig(device="cpu", precision="fp16"))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"cuda is not available on this machine .have: .*cpu"):
            start(RuntimeConfig(device="cuda"))


def test_only_the_chosen_precision_is_computed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_cli.runtime._cpu_can_bf16", lambda: True)  # a plain product runs anywhere
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        chosen = start(RuntimeConfig.model_validate({"device": "cpu", "precision": precision, "threads": 1}))
        with chosen.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_steps_randomness_depends_on_seed_and_step_alone() -> None:
    def drawn(seed: int, step: int) -> list[float]:
        torch.rand(7)
        seed_step(seed, step)
        values: list[float] = torch.rand(3).tolist()
        return values

    assert drawn(1, 5) == drawn(1, 5)
    assert len({tuple(drawn(seed, step)) for seed in range(5) for step in range(5)}) == 25


def test_denormal_floats_are_flushed() -> None:
    start(RuntimeConfig(device="cpu", threads=1))
    assert (torch.tensor([1e-30]) * torch.tensor([1e-10])).item() == 0.0
