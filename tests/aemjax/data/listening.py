"""What a linear model hears in clips: their mean spectrum, or their course in time."""

import numpy as np
import threadpoolctl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aemjax.audio.read import SAMPLE_RATE, read_audio


def log_mel(wave, sample_rate):
    """40 bands of 50 to 7500 Hz against frames of about 25 ms every 15 ms, "f c"."""
    window, hop = 1 << round(np.log2(0.025 * sample_rate)), int(0.015 * sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    low, high = 2595 * np.log10(1 + np.array([50, 7500]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, 42) / 2595) - 1)
    hz = np.arange(power.shape[1])[:, None] * (sample_rate / window)
    up = (hz - edges[:-2]) / np.diff(edges)[:-1]
    down = (edges[2:] - hz) / np.diff(edges)[1:]
    return np.log(power @ np.clip(np.minimum(up, down), 0, None) + 1e-6)


def course(mel):
    """What the mean over time forgets: how each frame follows those before it.

    The modulation spectrum, summed over bands, and the correlation of every band with
    its neighbours up to eight bands away, one to four frames later.
    """
    mel = (mel - mel.mean(0)) / (mel.std() + 1e-6)
    modulation = np.log(np.mean(np.abs(np.fft.rfft(mel, 128, axis=0)), 1) + 1e-3)
    moves = [
        np.mean(mel[lag:, 8:-8] * np.roll(mel, shift, 1)[:-lag, 8:-8])
        for lag in (1, 2, 4, 8)
        for shift in range(-8, 9)
    ]
    skew = [np.mean(np.diff(mel, axis=0) ** 3), np.mean(mel**3), np.mean(mel**4)]
    return np.concatenate([modulation, moves, skew])


def scores(listing):
    """Balanced accuracy of logistic regression on (mean spectra, courses in time).

    Every clip is held out once, in one of five stratified folds that keep groups
    together. Chance is one over the number of classes, whatever their sizes.
    """
    means, courses = [], []
    for clip in listing.clips:
        wave = read_audio(clip.source, start_s=clip.start_s, end_s=clip.end_s)
        wave = np.pad(wave, (0, max(0, SAMPLE_RATE // 4 - len(wave))))
        mel = log_mel(wave, SAMPLE_RATE)
        means.append(mel.mean(0))
        courses.append(course(mel))
    labels = np.array([clip.labels[0] for clip in listing.clips])
    groups = np.array([clip.group or clip.id for clip in listing.clips])
    folds = list(
        StratifiedGroupKFold(5, shuffle=True, random_state=0).split(
            labels, labels, groups
        )
    )
    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced"),
    )
    with threadpoolctl.threadpool_limits(1):  # ten times as fast on matrices this small
        return tuple(
            balanced_accuracy_score(
                labels, cross_val_predict(model, np.stack(features), labels, cv=folds)
            )
            for features in (means, courses)
        )
