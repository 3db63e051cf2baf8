"""README and docs/results/claims.md say of the published claims what the page of claims beside them says."""

from __future__ import annotations

import re

import pytest
from conftest import SOURCE

PAGE = (SOURCE / "docs/results/claims_page.html").read_text()
SHORT = (SOURCE / "docs/results/claims.md").read_text()
README = (SOURCE / "README.md").read_text()
COLUMNS = {"holds": "holds", "mixed": "in part", "fails": "fails"}


def verdicts() -> dict[str, dict[str, str]]:
    """Claim to data set to the class of its verdict: holds, mixed, fails or untested."""
    table = PAGE[PAGE.index("<table") : PAGE.index("</table>")]
    titles, *rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    data_sets = re.findall(r"<th[^>]*>(\w+)</th>", titles)[1:]
    found = {}
    for row in rows:
        claim = re.search(r'href="#(\w+)"', row)
        cells = re.findall(r'<span class="verdict (\w+)', row)
        assert claim is not None
        assert len(cells) == len(data_sets)
        found[claim[1]] = dict(zip(data_sets, cells, strict=True))
    return found


VERDICTS = verdicts()
IDENTIFIER = rf"\b(?:{'|'.join(claim for claim in VERDICTS if not claim.isdigit())})\b"  # a 6 alone is a number


def having(data_set: str, verdict: str) -> set[str]:
    return {claim for claim, cells in VERDICTS.items() if cells[data_set] == verdict and not claim.isdigit()}


def named(text: str) -> set[str]:
    return set(re.findall(IDENTIFIER, text))


def counts(data_set: str) -> list[int]:
    """How many hold, hold in part, fail, are not tested."""
    all_of = [cells[data_set] for cells in VERDICTS.values()]
    known = [all_of.count(verdict) for verdict in COLUMNS]
    return [*known, len(all_of) - sum(known)]


def test_the_readme_counts_as_the_page_does() -> None:
    said = re.search(
        r"Of these (\d+) claims, (\d+) \[hold on MNIST\][^,]*, (\d+) hold in part, (\d+) fail, (\d+) [^(]*"
        r"\(Fashion-MNIST: (\d+), (\d+), (\d+), (\d+)\)",
        README,
    )
    assert said is not None
    assert [int(number) for number in said.groups()] == [len(VERDICTS), *counts("mnist"), *counts("fashion_mnist")]


def test_the_short_table_has_each_claim_in_its_column() -> None:
    after = SHORT.partition("In short, on MNIST")[2]
    lines = re.findall(r"^\|(.*)\|$", after.partition("\n\n")[2].partition("\n\n")[0], re.MULTILINE)
    columns = list(zip(*(line.split("|") for line in lines), strict=True))
    assert [column[0].strip() for column in columns] == list(COLUMNS.values())
    for column, verdict in zip(columns, COLUMNS, strict=True):
        assert named(" ".join(column[1:])) == having("mnist", verdict), column[0]


@pytest.mark.parametrize(("said", "verdict"), [("Fail", "fails"), ("Hold", "holds")])
def test_what_both_data_sets_say_is_complete(said: str, verdict: str) -> None:
    line = re.search(rf"^- {said} on both: (.*)$", SHORT, re.MULTILINE)
    assert line is not None
    assert named(line[1]) == having("mnist", verdict) & having("fashion_mnist", verdict)


def test_what_holds_on_one_data_set_and_fails_on_the_other_is_told() -> None:
    first = having("mnist", "holds") & having("fashion_mnist", "fails")
    other = having("mnist", "fails") & having("fashion_mnist", "holds")
    rows = re.findall(r"^\|([^|]*)\|", SHORT.partition("Where the data sets differ")[2], re.MULTILINE)
    assert first | other <= named(" ".join(rows))
