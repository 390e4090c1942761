"""An invented study: its numbers and its abstract."""

from samples.bank import PHRASES, TOPICS, Block, Dice

TYPES = {
    "trial": ["Journal Article", "Randomized Controlled Trial"],
    "cohort": ["Journal Article", "Observational Study"],
    "review": ["Journal Article", "Systematic Review"],
    "diagnostic": ["Journal Article", "Comparative Study"],
    "survey": ["Journal Article"],
}
JOURNALS = ("Annals of Invented Medicine", "Sample Journal of Public Health", "Fictional Clinical Reports")


def figures(kind: str, effect: str, dice: Dice) -> dict[str, str]:
    """The invented numbers of a study, consistent with one another."""
    n = dice.number(30, 60) if kind == "survey" else dice.number(420, 1600)
    n1 = n // 2 + dice.number(-6, 6)
    n2 = n - n1
    base = dice.number(10, 28) / 100
    ratio = {"more": dice.number(140, 220), "same": dice.number(94, 107)}.get(effect, dice.number(50, 78)) / 100
    e1, e2 = round(n1 * base * ratio), round(n2 * base)
    rr = e1 / n1 / (e2 / n2)
    spread = 2.718281828 ** (1.96 * (1 / e1 - 1 / n1 + 1 / e2 - 1 / n2) ** 0.5)
    pos = round(n * base)
    sens, spec = dice.number(78, 96) / 100, dice.number(70, 95) / 100
    tp, fp = round(pos * sens), round((n - pos) * (1 - spec))
    values: dict[str, float | str] = {
        "n": n, "N": n, "n1": n1, "N1": n1, "n2": n2, "e1": e1, "E1": e1, "e2": e2, "pos": pos, "tp": tp, "fp": fp,
        "fn": pos - tp, "a": f"{100 * e1 / n1:.1f}", "b": f"{100 * (base if effect == 'detects' else e2 / n2):.1f}",
        "rr": f"{rr:.2f}", "lo": f"{rr / spread:.2f}", "hi": f"{rr * spread:.2f}",
        "nnt": round(1 / max(e2 / n2 - e1 / n1, 0.01)), "sens": round(100 * sens), "spec": round(100 * spec),
        "lr": f"{sens / (1 - spec):.1f}", "auc": dice.number(84, 95),
        "npv": f"{100 * base * (1 - sens) / (base * (1 - sens) + (1 - base) * spec):.1f}",
        "months": dice.number(4, 18), "years": dice.number(3, 12), "sites": dice.number(3, 24),
        "sites2": dice.number(9, 27),
    }  # fmt: skip
    return {name: str(value) for name, value in values.items()}


class Study:
    """An invented study: its sentences and numbers, from which an abstract or a paper is told."""

    def __init__(self, number: int, block: Block) -> None:
        (self.kind, self.topic, self.title), self.lines = block[0], block[1]
        people, tested, other, outcome, self.effect = (field.strip() for field in self.lines["W"][0].split("|"))
        self.dice = Dice(f"study {self.title}")
        self.slots = figures(self.kind, self.effect, self.dice)
        self.slots |= {"pop": people, "int": tested, "comp": other, "out": outcome}
        self.pmid = str(99_000_000 + number)
        self.doi = f"10.5555/gap.{number:04d}"
        self.year = self.dice.number(2006, 2023)
        self.journal = self.dice.pick(list(JOURNALS))
        self.condition = TOPICS[self.topic][0]
        self.told = {part: self.phrase(f"{self.kind}.{part}") for part in ("design", "outcome", "analysis")}
        self.told["result"] = self.phrase(f"{self.effect}.result")
        self.told["limits"] = self.phrase("limits")
        self.abstract = self._abstract()
        self.mesh = ["Humans", self.condition, "Adult" if self.dice.number(0, 1) else "Surveys and Questionnaires"]
        self.month = self.dice.number(1, 12)

    def phrase(self, name: str) -> str:
        options = PHRASES.get(name) or PHRASES[name.replace("review.", "cohort.")]
        text = self.dice.pick(options).format_map(self.slots)
        return text[0].upper() + text[1:]

    def _abstract(self) -> str:
        known = self.dice.some([sentence for key in "DCNF" for sentence in TOPICS[self.topic][1][key]], 2)
        parts = {
            "BACKGROUND": [*known, *self.lines["B"]],
            "METHODS": [self.told["design"], self.told["outcome"], self.told["analysis"]],
            "RESULTS": [self.told["result"], *self.lines["X"]],
            "CONCLUSIONS": [self.told["limits"], *self.lines["C"]],
        }
        if self.dice.number(0, 1):
            return "\n".join(f"{label}: {' '.join(sentences)}" for label, sentences in parts.items())
        return "\n".join(" ".join(sentences) for sentences in parts.values())

    @property
    def pmcid(self) -> str:
        return f"PMC9900{self.doi[-4:]}"

    @property
    def types(self) -> list[str]:
        """Publication types, in MEDLINE's words."""
        return TYPES[self.kind]
