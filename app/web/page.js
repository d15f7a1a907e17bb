const form = document.getElementById("pattern");
const answer = document.getElementById("answer");
const problem = document.getElementById("problem");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  answer.hidden = problem.hidden = true;
  try {
    const response = await fetch("/predict", {
      method: "POST", body: new FormData(form), headers: { Accept: "application/json" },
    });
    const content = await response.json();
    if (response.ok) show(content);
    else tell(`${content.title}: ${content.detail}`);
  } catch (error) {
    tell(`The service does not answer: ${error.message}`);
  } finally {
    button.disabled = false;
  }
});

function tell(text) {
  problem.textContent = text;
  problem.hidden = false;
}

function show(content) {
  fill("warnings", content.query.warnings.map((text) => element("li", text)));
  fill("candidates", content.candidates.map(row));
  const { version, crystals } = content.provenance;
  const found = content.candidates.length ? "" : "No crystal of the index meets the condition on the elements. ";
  document.getElementById("provenance").textContent =
    `${found}${content.query.spots} spots, searched among ${crystals} crystals in ` +
    `${content.timing_ms.total.toFixed(0)} ms; version ${version}, request ${content.request_id}.`;
  answer.hidden = false;
}

function row(candidate) {
  const { a, b, gamma } = candidate.lattice;
  const link = element("a", "download");
  link.href = URL.createObjectURL(new Blob([candidate.cif], { type: "chemical/x-cif" }));
  link.download = `${candidate.formula}_${candidate.rank}.cif`;
  const cells = [
    number(candidate.rank), element("td", candidate.formula), number(candidate.similarity.toFixed(3)),
    number(`${a.toFixed(3)}, ${b.toFixed(3)}, ${gamma.toFixed(1)}`), number(candidate.layer_group),
    element("td", [candidate.source, candidate.id, ...candidate.also].join(", ")), element("td"),
  ];
  cells.at(-1).append(link);
  const tr = element("tr");
  tr.append(...cells);
  return tr;
}

function number(text) {
  const cell = element("td", text);
  cell.className = "number";
  return cell;
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function fill(id, children) {
  document.getElementById(id).replaceChildren(...children);
}
