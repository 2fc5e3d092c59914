"""Help of a command: its options by what they are about, examples no wider than the terminal."""

import click

from . import output

HELP = "_click_default_help"
# What an option is about, by the name of its parameter; what is not here belongs to the question.
SECTIONS = {
    "Grid and catalogs": ("axes", "fixed", "settings", "limits", "model", "catalogs", "dtype"),
    "One side alone": tuple(f"{name}_{side}" for side in "ab" for name in ("axes", "fixed", "settings", "limits")),
    "How it is computed": ("stream", "max_memory", "scheduler", "devices", "resume"),
    "Output": (
        *("output", "csv_all", "csv_feasible", "json_best", "blocks", "size", "dpi", "force", "form"),
        *("wide", "verbose", "quiet", HELP),
    ),
}
NAMES = "Names: dsjax names axes|variables|limits|parameters [WORD]; rows: dsjax catalog."


class Command(click.Command):
    """A command of `dsjax`."""

    def get_help(self, context):
        """Help, lines of examples folded too: commands so that they can be copied."""
        lines, columns = super().get_help(context).split("\n"), output.width()
        copied = (line.startswith("  dsjax ") and "   " not in line.strip() for line in lines)
        return "\n".join((output.command if of else output.folded)(x, columns) for x, of in zip(lines, copied))

    def format_options(self, context, formatter):
        """Options in sections, those about the question first."""
        parameters = {parameter.name: parameter for parameter in self.get_params(context)}
        sections: dict = {name: [] for name in ("Question", *SECTIONS)}
        for name, parameter in parameters.items():
            of = (section for section, own in SECTIONS.items() if name in own)
            own = "Question" if name == "model" and "limits" not in parameters else next(of, "Question")
            record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
            sections[own] += [record] if record else []
        for name, records in sections.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)
        if "axes" in parameters:
            formatter.write_paragraph()
            formatter.write_text(NAMES)


def command(*args, **options):
    """`click.command` of a command with this help."""
    return click.command(*args, cls=Command, **options)
