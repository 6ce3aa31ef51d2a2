"""The change of a norm's weight and bias, which any algorithm of LyCORIS may train in addition. Source: lycoris-lora 4.1.3, modules/norms.py."""

from __future__ import annotations

from trainer_core.weights.networks.kinds.full import Full

kind = Full("norm", "w_norm")
