"""What survives the tokenizer: PSNR, SSIM, codebook usage, and the emotion by two readers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from configs.cli import UserError
from engine.storage.atomic import write_json
from eval.experiments.experiment import Experiment, Figures
from eval.experiments.options import DEFAULT, add_data, add_networks, add_out
from eval.faces.real import data_name, load_real
from eval.measures.reconstruction import measure_photographs, measure_tokenizer, require_ssim


class Reconstruction(Experiment[str]):
    """One point: a tokenizer."""

    name = "reconstruction"
    examples = """examples:
  python -m eval.reconstruction --data DATA
  python -m eval.reconstruction --data DATA --split valid --weights runs/faces/weights/tokenizer --out runs/faces/eval
  python -m eval.reconstruction --data drawn --weights runs/vqvae/weights/tokenizer
  python -m eval.reconstruction --data ALIGNED --split valid --weights runs/colour/weights/tokenizer --photographs DATA

"kept": the judge's likeliest emotion is the same before and after. The encoder was in the tokenizer's loss, the second
judge was not: only the second figure says that the emotion is still there for others.

--photographs adds how well a tokenizer that paints colour paints photographs of which it sees a small grey web picture. The
valid split of colour128 is measured, whatever --split says: it has no other beside train."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        add_data(parser, ("train", "valid", "test"), "test")
        add_networks(parser, "pretrained/tokenizer")
        parser.add_argument("--photographs", help="folder with colour128, for a tokenizer that paints colour")
        parser.add_argument("--encoder", default="pretrained/encoder", help=f"reader that was in the loss ({DEFAULT})")
        add_out(parser, cls.name)

    def plan(self) -> dict[str, str]:
        require_ssim()
        return {"tokenizer": self.arguments.weights}

    def load(self) -> None:
        from encoder.inference.emotion_encoder import EmotionEncoder
        from engine.devices import resolve_device
        from engine.storage.weights import resolve_folder
        from vqvae.tokenizer import Tokenizer

        asked, device = self.arguments, resolve_device(self.arguments.device)
        self.tokenizer = Tokenizer.from_pretrained(resolve_folder(asked.weights)).to(device)
        folders = {"encoder": asked.encoder, "second_judge": asked.judge}
        self.readers = {name: EmotionEncoder.from_pretrained(resolve_folder(place)).to(device) for name, place in folders.items()}
        config, self.photographs = self.tokenizer.config, None
        if asked.photographs is not None:
            from vqvae.colour.photographs import Photographs

            if not config.paints_photographs:
                raise UserError(f"--photographs: {asked.weights} paints no colour; leave the option out")
            self.photographs = Photographs.open(asked.photographs, "valid", config.painted)
        self.images = load_real(asked.data, asked.split, config.size).images

    def measure(self, point: str) -> Figures:
        head = {"data": data_name(self.arguments.data), "split": self.arguments.split, "weights": point}
        figures = {**head, **measure_tokenizer(self.tokenizer, self.readers, self.images)}
        if self.photographs is not None:
            figures["photographs"] = measure_photographs(self.tokenizer, self.photographs)
        return figures

    def write(self, done: Mapping[str, Figures]) -> str:
        from vqvae.grids import before_after_grid, reconstruction_grid

        write_json(self.arguments.out / "reconstruction.json", done["tokenizer"])
        path = self.arguments.out / "reconstructions.png"
        if self.photographs is None:
            reconstruction_grid(self.tokenizer, self.images, path)
        else:
            before_after_grid(
                self.tokenizer, self.images, *self.photographs.with_web_pictures(24, self.tokenizer.config.size), path
            )
        return json.dumps(done["tokenizer"], indent=2)
