"""Peak rates of accelerators, to relate a measured rate to what the chip could do."""

import jax

# Dense bfloat16 (float16 where there is none) FLOP/s of one JAX device, as the makers
# state them, by the start of its `device_kind`; a TPU v2 or v3 chip is two devices.
PEAK_FLOPS = {
    "TPU v2": 22.5e12,
    "TPU v3": 61.5e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "Tesla V100": 125e12,
    "Tesla T4": 65e12,
    "NVIDIA A10G": 70e12,
    "NVIDIA A100": 312e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200 NVL": 835e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA GeForce RTX 3090": 71e12,
    "NVIDIA GeForce RTX 4090": 165e12,
}


def peak_flops(device: jax.Device) -> float | None:
    """FLOP/s of a device in bfloat16; None for a kind that is not in the table."""
    kind = device.device_kind
    known = [name for name in PEAK_FLOPS if f"{kind} ".startswith(f"{name} ")]
    known += [name for name in PEAK_FLOPS if kind.startswith(f"{name}-")]
    return PEAK_FLOPS[max(known, key=len)] if known else None


def peak_memory_bytes(device: jax.Device) -> int | None:
    """The most memory that was in use on a device; None where it does not say."""
    stats = device.memory_stats()
    return stats.get("peak_bytes_in_use") if stats else None
