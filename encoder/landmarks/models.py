"""Training of the models on landmarks, by name: features and labels in, arrays out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.config import LandmarkConfig
from encoder.emotions import NUM_EMOTIONS
from encoder.landmarks.scores import import_extra
from engine.threads import free_threads

Fitted = dict[str, NDArray[Any]]
# Margins are small numbers; so the temperature that calibrates them lies where temperatures are looked for.
_MARGIN = 4.0


@dataclass(frozen=True)
class Examples:
    """Standardised features ``x`` (N, F) float32 with classes ``y`` (N,), every emotion among them."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


Fit = Callable[[Examples, Examples, LandmarkConfig, int], Fitted]


def _lightgbm(train: Examples, valid: Examples, config: LandmarkConfig, seed: int) -> Fitted:
    """Gradient-boosted trees (Ke et al., 2017); as many as valid asks for, at most ``trees``."""
    lightgbm = import_extra("lightgbm")
    settings = {
        "objective": "multiclass",
        "num_class": NUM_EMOTIONS,
        "num_leaves": config.leaves,
        "learning_rate": 0.05,
        "min_data_in_leaf": config.smallest_leaf,
        "feature_fraction": 0.5,
        "seed": seed,
        "deterministic": True,
        "num_threads": free_threads(),
        "verbosity": -1,
    }
    data = lightgbm.Dataset(train.x, train.y)
    judged = lightgbm.Dataset(valid.x, valid.y, reference=data)
    patience = lightgbm.early_stopping(30, verbose=False)
    model = lightgbm.train(settings, data, config.trees, valid_sets=[judged], callbacks=[patience])
    text = model.model_to_string(num_iteration=model.best_iteration)
    return {"text": np.frombuffer(text.encode(), np.uint8).copy()}


def _forest(train: Examples, _valid: Examples, config: LandmarkConfig, seed: int) -> Fitted:
    """Random forest (Breiman, 2001)."""
    ensemble = import_extra("sklearn.ensemble")
    model = ensemble.RandomForestClassifier(
        config.trees, min_samples_leaf=config.smallest_leaf, random_state=seed, n_jobs=free_threads()
    ).fit(train.x, train.y)
    grown = [tree.tree_ for tree in model.estimators_]
    starts = np.cumsum([0, *(tree.node_count for tree in grown)])
    children: Fitted = {}
    for side in ("left", "right"):
        own = [getattr(tree, f"children_{side}") for tree in grown]
        moved = [np.where(child >= 0, child + start, -1) for child, start in zip(own, starts, strict=False)]
        children[side] = np.concatenate(moved).astype(np.int32)
    counts = np.concatenate([tree.value[:, 0] for tree in grown])
    return {
        "roots": starts[:-1].astype(np.int32),
        "feature": np.concatenate([tree.feature for tree in grown]).astype(np.int32),
        "threshold": np.concatenate([tree.threshold for tree in grown]).astype(np.float64),
        **children,
        "shares": (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32),
    }


def _linear_svc(train: Examples, _valid: Examples, config: LandmarkConfig, seed: int) -> Fitted:
    """Linear support-vector machines, one class against the rest; a margin of 1 makes a logit of ``_MARGIN``."""
    svm = import_extra("sklearn.svm")
    model = svm.LinearSVC(C=config.penalty, dual=False, max_iter=2000, tol=1e-3, random_state=seed).fit(train.x, train.y)
    return _layers([_MARGIN * model.coef_.T], [_MARGIN * model.intercept_])


def _svc(train: Examples, _valid: Examples, config: LandmarkConfig, seed: int) -> Fitted:
    """Support-vector machines with a Gaussian kernel, one for each pair of classes (Cortes & Vapnik, 1995)."""
    svm = import_extra("sklearn.svm")
    gamma = 1.0 / train.x.shape[1]  # of standardised features, what scikit-learn calls "scale"
    model = svm.SVC(C=config.penalty, gamma=gamma, cache_size=1000, random_state=seed).fit(train.x, train.y)
    return {
        "vectors": model.support_vectors_.astype(np.float32),
        "dual": np.asarray(model.dual_coef_, np.float64),
        "offsets": np.asarray(model.intercept_, np.float64),
        "counts": np.asarray(model.n_support_, np.int32),
        "gamma": np.array([gamma]),
    }


def _knn(train: Examples, _valid: Examples, config: LandmarkConfig, _seed: int) -> Fitted:
    """Nearest neighbours need no training: the model is the training faces' features."""
    k = min(config.neighbours, len(train.x))
    return {"vectors": train.x, "labels": train.y.astype(np.int8), "k": np.array([k], np.int32)}


def _mlp(train: Examples, _valid: Examples, config: LandmarkConfig, seed: int) -> Fitted:
    """scikit-learn's multi-layer perceptron, which holds out a tenth of train to know when to stop."""
    network = import_extra("sklearn.neural_network")
    model = network.MLPClassifier(
        config.hidden, alpha=1e-3, batch_size=256, max_iter=config.epochs, early_stopping=True, random_state=seed
    )
    with warnings.catch_warnings():
        # Ending at max_iter is what was asked for.
        warnings.simplefilter("ignore")
        model.fit(train.x, train.y)
    return _layers(model.coefs_, model.intercepts_)


def _net(train: Examples, valid: Examples, config: LandmarkConfig, seed: int) -> Fitted:
    """A feed-forward network with batch norm and dropout, AdamW and a cosine; the epoch that is best on valid."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    from engine.training.optimization import cosine_schedule, set_learning_rate

    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    width = train.x.shape[1]
    for hidden in config.hidden:
        layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.3)]
        width = hidden
    net = nn.Sequential(*layers, nn.Linear(width, NUM_EMOTIONS))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    best, kept = -1.0, {name: value.clone() for name, value in net.state_dict().items()}
    for epoch in range(config.epochs):
        net.train()
        # A last batch of one face has no deviation for batch norm.
        batches = [batch for batch in torch.randperm(len(x)).split(256) if len(batch) > 1]
        for step, batch in enumerate(batches):
            set_learning_rate(optimizer, 2e-3 * cosine_schedule((epoch + step / len(batches)) / config.epochs))
            loss = F.cross_entropy(net(x[batch]), y[batch], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode():
            right = float((net(torch.from_numpy(valid.x)).argmax(1).numpy() == valid.y).mean())
        if right >= best:
            best, kept = right, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return _folded(net)


def _folded(net: Any) -> Fitted:
    """The dense layers of ``net``, each batch norm folded into the layer before it."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_linear_bn_eval

    dense: list[nn.Linear] = []
    for layer in net.double():
        if isinstance(layer, nn.Linear):
            dense.append(layer)
        elif isinstance(layer, nn.BatchNorm1d):
            dense[-1] = fuse_linear_bn_eval(dense[-1], layer)
    return _layers([layer.weight.detach().numpy().T for layer in dense], [layer.bias.detach().numpy() for layer in dense])


def _layers(weights: Any, biases: Any) -> Fitted:
    fitted = {f"weight{k}": np.asarray(weight, np.float32) for k, weight in enumerate(weights)}
    return fitted | {f"bias{k}": np.asarray(bias, np.float32) for k, bias in enumerate(biases)}


LANDMARK_MODELS: Mapping[str, Fit] = {
    "landmarks-lightgbm": _lightgbm,
    "landmarks-forest": _forest,
    "landmarks-linear-svc": _linear_svc,
    "landmarks-svc": _svc,
    "landmarks-knn": _knn,
    "landmarks-mlp": _mlp,
    "landmarks-net": _net,
}
