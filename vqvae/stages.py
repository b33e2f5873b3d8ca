"""Runs the stages of a training one after the other and leaves weights and pictures in the run directory."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from configs.cli import UserError
from encoder.attributes.probe import FaceAttributes
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.devices import describe, make_accelerator
from engine.storage.weights import CONFIG_FILE, WEIGHTS_FILE, resolve_folder
from engine.training.agreement import Agreement
from engine.training.optimization import check_accumulation
from engine.training.run_folder import CONFIG
from engine.training.session import Training, open_training
from engine.training.stop_request import GO_ON
from engine.training.task import LoopSettings, TrainingTask
from vqvae.colour.repaint import decoder_config, decoder_is_trained, keep_former, repainting_task
from vqvae.colour.seen import with_seen_attributes
from vqvae.colour.stage import PaintingTask, check_painting, load_photographs
from vqvae.colour.told import photograph_faces
from vqvae.config import StageConfig, VqvaeConfig
from vqvae.critics.stage import CRITICS, critic_task
from vqvae.faces import SOURCES, Faces, TrainingFaces, joined, load_training_faces, open_training_shards
from vqvae.grids import before_after_grid, emotion_grid, reconstruction_grid
from vqvae.prior import MaskedPrior
from vqvae.prior_stage import PriorTask, initial_prior
from vqvae.tokenizer import Tokenizer
from vqvae.tokenizer_stage import ReconstructionTask, TokenizerStart, TokenizerTask
from vqvae.tokens.chosen import together
from vqvae.tokens.packed import packed_file, unpack
from vqvae.tokens.store import TokenStore, make_token_store


def stage_settings(config: VqvaeConfig, stage: str) -> StageConfig:
    """What is set for a stage; the two critics share theirs."""
    own = {"tokenizer": config.tokenizer_stage, "prior": config.prior_stage, "decoder": config.decoder_stage}
    return own.get(stage, config.critic_stage)


def trained_part(stage: str) -> str:
    """The network that a stage trains."""
    return "tokenizer" if stage == "decoder" else stage


def stage_minutes(config: VqvaeConfig, stages: tuple[str, ...], total: float | None) -> dict[str, float | None]:
    """Time of each stage: its own ``max_minutes``, or its share of ``total``."""
    own = {stage: stage_settings(config, stage).max_minutes for stage in stages}
    if total is None:
        return {stage: own[stage] for stage in stages}
    if total <= 0:
        raise UserError(f"--max-minutes: must be positive, got {total:g}")
    parts = {stage: own[stage] or 1.0 for stage in stages}
    return {stage: total * part / sum(parts.values()) for stage, part in parts.items()}


def _endings(config: VqvaeConfig) -> tuple[str, ...]:
    """The settings that say when a run of unknown length ends: only whoever sees its pictures can tell."""
    stages = {f"{name}_stage": stage_settings(config, name) for name in ("tokenizer", "prior", "decoder")}
    open_ended = [name for name, stage in stages.items() if stage.schedule == "constant"]
    return tuple(f"{name}.{setting}" for name in open_ended for setting in ("epochs", "max_minutes", "decay_from"))


class _Runner:
    """One invocation of the program: what all stages share."""

    def __init__(self, config: VqvaeConfig, arguments: argparse.Namespace, stages: tuple[str, ...], go_on: str) -> None:
        self.config, self.out = config, arguments.out
        self.accelerator = make_accelerator(config.device, config.precision)
        self.agreement = Agreement(self.accelerator)
        self.trainings: dict[str, Training] = {}  # of the stages that are not complete
        self.trained: Tokenizer | None = None
        for stage in stages:
            folder, resume = self.out / stage, arguments.resume
            if resume == "latest":
                if self._complete(stage):
                    continue
                # A run that ended in its first stage has no folder of the second yet.
                resume = resume if (folder / CONFIG).is_file() else None
            part, endings = trained_part(stage), _endings(config)
            training = open_training(
                stage, config, config, folder, resume, module=part, may_change=endings, begin=False, go_on=go_on
            )
            self.trainings[stage] = training
        self.encoder = None
        if config.encoder is not None:
            self.encoder = EmotionEncoder.from_pretrained(resolve_folder(config.encoder))
        self.agreement.in_turn(self._build_starts)
        self.train, self.valid = self._faces()
        painted = config.tokenizer.paints_photographs and config.faces.source != "tokens"
        self.photographs = load_photographs(config) if painted else None
        counts = f"{len(self.train)} training and {len(self.valid)} validation faces"
        if self.photographs is not None:
            counts += f", {' and '.join(str(len(part)) for part in self.photographs)} photographs"
        self.agreement.say(f"vqvae: {counts}, {describe(self.accelerator, config.compile)}")

    @property
    def shown_source(self) -> int:
        """The look of generated faces in pictures of the training."""
        photographs = self.config.tokenizer.paints_photographs
        return SOURCES.index("photo") if photographs else int(self.valid.sources[0])

    def _packed(self, split: str) -> TokenStore:
        config, tokenizer = self.config, self.trained_tokenizer()
        if config.faces.tokens is None:
            raise UserError("faces.tokens: name the folder that python -m vqvae.pack wrote")
        path = packed_file(resolve_folder(config.faces.tokens), split)
        return unpack(path, tokenizer.config, tokenizer.encoding_sha256(), len(config.prior.attributes))

    def _complete(self, stage: str) -> bool:
        weights = self.out / "weights"
        if stage == "decoder":
            return decoder_is_trained(weights)
        # A program may end between the two files: only both are a stage that is complete.
        return all((weights / stage / name).is_file() for name in (WEIGHTS_FILE, CONFIG_FILE))

    def _build_starts(self) -> None:
        """What the stages start from, before the faces are read, which takes long.

        Raises:
            UserError: weights to start from are missing or of another shape, a loss lacks its encoder or LPIPS, or a batch
                cannot be cut as asked.
        """
        config = self.config
        if config.faces.source == "tokens":
            for stage in self.trainings:
                if stage in ("tokenizer", "decoder"):
                    raise UserError(f"--stage {stage}: paints faces, and faces.source=tokens has none; train it where they are")
        elif config.tokenizer.paints_photographs:
            check_painting(config, self.accelerator.num_processes)
        if "tokenizer" in self.trainings:
            self.tokenizer_start = TokenizerStart(config, self.encoder, self.accelerator.device)
        if "prior" in self.trainings:
            self.trained = None if "tokenizer" in self.trainings else self.trained_tokenizer()
            self.prior_start = initial_prior(config)
        for stage in self.trainings:
            settings = stage_settings(config, stage)
            if stage in CRITICS or stage == "decoder":
                self.trained = self.trained_tokenizer()
                self.judged = self.trained_prior()
            if stage == "decoder":
                self.config_of_decoder = decoder_config(config, self.out / "weights")
                self.tokenizer_start = TokenizerStart(self.config_of_decoder, self.encoder, self.accelerator.device)
            processes = self.accelerator.num_processes
            name = "critic" if stage in CRITICS else stage
            check_accumulation(f"{name}_stage.batch_size", settings.batch_size, processes, settings.accumulate)

    def trained_tokenizer(self) -> Tokenizer:
        """The tokenizer that the prior is trained on.

        Raises:
            UserError: there is none, or one of other settings.
        """
        weights = self.out / "weights" / "tokenizer"
        if not weights.is_dir():
            raise UserError(f"{weights}: the prior needs a trained tokenizer there; run --stage tokenizer first")
        tokenizer = Tokenizer.from_pretrained(weights)
        if tokenizer.config != self.config.tokenizer:
            raise UserError(f"{weights}: was trained with other tokenizer settings than this configuration has")
        return tokenizer

    def trained_prior(self) -> MaskedPrior:
        """The prior whose faces a critic learns to tell. Raises UserError: there is none, or one of other tokens."""
        weights = self.out / "weights" / "prior"
        if not weights.is_dir():
            raise UserError(f"{weights}: decoder and critics need a trained prior there; run --stage prior first")
        prior, tokenizer = MaskedPrior.from_pretrained(weights), self.trained_tokenizer()
        if prior.shape.tokenizer_sha256 != tokenizer.encoding_sha256():
            raise UserError(f"{weights}: was trained on tokens that the tokenizer beside it does not make")
        return prior

    def _faces(self) -> tuple[Faces, TrainingFaces]:
        config = self.config
        if config.faces.source == "tokens":
            return self._packed("train"), self._packed("valid")  # type: ignore[return-value]
        if config.faces.source != "shards":
            return load_training_faces(config, "train"), load_training_faces(config, "valid")
        # The first process indexes shards that have no index, the others then find it.
        train, valid = self.agreement.in_turn(
            lambda: [open_training_shards(config, split, self.out / "cache") for split in ("train", "valid")]
        )
        return train, valid.spread()

    def loop(
        self,
        stage: str,
        task: TrainingTask,
        settings: StageConfig,
        minutes: float | None,
        before_saving: Callable[[], None] = lambda: None,
    ) -> int:
        every = task.batches.steps_per_epoch
        interval = settings.evaluate_every or max(20, 20 * round(min(every, 500) / 20))
        outcome = self.trainings[stage].run(
            task,
            LoopSettings(
                total_steps=max(1, round(settings.epochs * every)),
                seed=self.config.seed,
                max_minutes=minutes,
                evaluate_every=interval,
                checkpoint_every=settings.checkpoint_every or interval,
                checkpoint_minutes=settings.checkpoint_minutes,
                log_every=settings.log_every,
                keep=settings.keep_checkpoints,
            ),
        )
        if outcome.exit_code == 0:
            notes = {
                "training": {"config": self.config.without_folders(), "steps": outcome.step},
                "metrics": {"split": "valid", **{name: round(value, 6) for name, value in outcome.figures.items()}},
                "data": {"train_faces": len(self.train)},
            }
            part = trained_part(stage)
            average: Any = task.emas[part].module

            def save() -> None:
                before_saving()
                average.save_pretrained(self.out / "weights" / part, **notes)

            self.agreement.in_first(save)
        return outcome.exit_code

    def tokenizer(self, minutes: float | None) -> int:
        if "tokenizer" in self.trainings:
            code = self.loop("tokenizer", self._tokenizer_task(), self.config.tokenizer_stage, minutes)
            if code:
                return code

        def draw() -> None:
            path = self.out / "reconstructions.png"
            trained = Tokenizer.from_pretrained(self.out / "weights" / "tokenizer")
            if self.photographs is None:
                reconstruction_grid(trained, self.valid.images, path)
            else:
                photographs = self.photographs[1].with_web_pictures(24, trained.config.size)
                before_after_grid(trained, self.valid.images, *photographs, path)
            print(f"vqvae: faces above, reconstructions below: {path}")

        self.agreement.in_first(draw)
        return 0

    def decoder(self, minutes: float | None) -> int:
        """Train the decoder on, for what the prior draws; the tokenizer that it was is kept beside it."""
        if "decoder" not in self.trainings:
            return 0
        store, weights = self._store(self.trained_tokenizer(), "train"), self.out / "weights"
        faces: Any = (self.train, self.valid, *(self.photographs or ()))
        config = self.config_of_decoder
        task = repainting_task(config, self.tokenizer_start, faces, store, self.judged, self.accelerator, self.out)

        def keep_and_blend() -> None:
            keep_former(weights)
            task.blend()

        return self.loop("decoder", task, config.decoder_stage, minutes, before_saving=keep_and_blend)

    def critic(self, name: str, minutes: float | None) -> int:
        """Train the critic called ``name``: each of the two has faces, an architecture and a seed of its own."""
        if name not in self.trainings:
            return 0
        tokenizer = self.trained_tokenizer().to(self.accelerator.device)
        stores = {"train": self._store(tokenizer, "train"), "valid": self._store(tokenizer, "valid")}
        task = critic_task(name, self.config, stores, tokenizer, self.judged, self.accelerator, self.out)
        return self.loop(name, task, self.config.critic_stage, minutes)

    def _tokenizer_task(self) -> ReconstructionTask:
        start, faces = self.tokenizer_start, (self.train, self.valid)
        if self.photographs is None:
            return TokenizerTask(self.config, start, *faces, self.accelerator)
        return PaintingTask(self.config, start, *faces, *self.photographs, self.accelerator)

    def _told(self, split: Literal["train", "valid"]) -> Faces:
        """The faces that the prior learns from: the grey ones and, where photographs are painted, the web pictures of these."""
        grey: Any = self.train if split == "train" else self.valid
        if self.photographs is None:
            return grey
        config, photographs = self.config, self.photographs[split == "valid"]
        faces = joined([grey, photograph_faces(config.faces.colour128 or "", split, photographs, config.tokenizer.size)])
        if config.faces.probe is None:
            return faces
        probe = FaceAttributes.from_pretrained(resolve_folder(config.faces.probe), resolve_folder(config.encoder or ""))
        seen = with_seen_attributes(faces, probe.to(self.accelerator.device))
        self.agreement.say(
            f"vqvae: {len(faces) - len(seen)} of {len(faces)} faces of {split} show text or no real face; left out"
        )
        return seen

    def _store(self, tokenizer: Tokenizer, split: Literal["train", "valid"]) -> TokenStore:
        if self.config.faces.source == "tokens":
            return self.train if split == "train" else self.valid  # type: ignore[return-value]
        faces, device = self._told(split), self.accelerator.device
        encoder = self.encoder.to(device) if self.encoder is not None else None
        folder, weight = self.out / "cache" / f"tokens-{split}", self.config.prior_stage.votes_weight
        told = self.config.prior.attributes
        return make_token_store(faces, tokenizer.to(device), encoder, weight, self.accelerator, folder, split, told)

    def _chosen(self, tokenizer: Tokenizer) -> TokenStore | None:
        """The drawn faces that the prior is to learn from, too. Raises UserError: see :func:`vqvae.tokens.packed.unpack`."""
        columns, stores = len(self.config.prior.attributes), list[TokenStore]()
        for path in self.config.prior_stage.chosen:
            stores.append(unpack(Path(path), tokenizer.config, tokenizer.encoding_sha256(), columns))
        return together(*stores) if stores else None

    def prior(self, minutes: float | None) -> int:
        tokenizer = self.trained or self.trained_tokenizer()
        if "prior" in self.trainings:
            train, valid = self._store(tokenizer, "train"), self._store(tokenizer, "valid")
            own: dict[str, Any] = {"chosen": self._chosen(tokenizer), "fresh_workers": self.train.remote}
            task = PriorTask(self.config, self.prior_start, train, valid, tokenizer, self.accelerator, **own)
            code = self.loop("prior", task, self.config.prior_stage, minutes, before_saving=task.finish)
            if code:
                return code

        def draw() -> None:
            path = self.out / "generated.png"
            prior = MaskedPrior.from_pretrained(self.out / "weights" / "prior")
            emotion_grid(prior, tokenizer.to("cpu"), self.shown_source, path)
            print(f"vqvae: generated faces, one emotion a row: {path}")

        self.agreement.in_first(draw)
        return 0


def train_stages(config: VqvaeConfig, arguments: argparse.Namespace, *, go_on: str = GO_ON) -> int:
    """Train what ``--stage`` asks for; returns the exit code. Whoever stops it is told to ``go_on``."""
    stages = ("tokenizer", "prior") if arguments.stage == "both" else (arguments.stage,)
    if arguments.resume not in (None, "latest") and len(stages) > 1:
        raise UserError("--resume CHECKPOINT: say which stage it is of: --stage tokenizer or --stage prior")
    if arguments.resume == "latest" and not arguments.out.is_dir():
        raise UserError(f"--resume latest: {arguments.out} holds no run; start without --resume")
    minutes = stage_minutes(config, stages, arguments.max_minutes)
    runner = _Runner(config, arguments, stages, go_on)
    for stage in stages:
        run = {"tokenizer": runner.tokenizer, "prior": runner.prior, "decoder": runner.decoder}.get(stage)
        code = run(minutes[stage]) if run is not None else runner.critic(stage, minutes[stage])
        if code:
            return code
    if runner.accelerator.is_main_process and config.faces.source == "drawn":
        print(
            "vqvae: these were drawn faces. Real ones: accelerate launch vqvae/train.py "
            "--config configs/vqvae/base.yaml faces.fer2013=FOLDER --out runs/faces"
        )
    return 0
