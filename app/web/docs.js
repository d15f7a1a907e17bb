const main = document.getElementById("operations");
const response = await fetch("/openapi.json");
const api = await response.json();

for (const [path, operations] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    main.append(...described(`${method.toUpperCase()} ${path}`, operation));
  }
}
main.append(element("h2", "Answers"));
for (const [name, schema] of Object.entries(api.components.schemas)) {
  main.append(element("h3", name), element("p", schema.description), properties(schema));
}

function described(title, operation) {
  const parts = [element("h2", title), element("p", `${operation.summary}. ${operation.description ?? ""}`)];
  for (const [type, body] of Object.entries(operation.requestBody?.content ?? {})) {
    parts.push(element("h3", `Body as ${type}`), properties(body.schema));
  }
  parts.push(element("h3", "Responses"), table(["Status", "Form", "Meaning"], Object.entries(operation.responses).map(
    ([status, each]) => [status, Object.entries(each.content ?? {}).map(form).join(", "), each.description],
  )));
  return parts;
}

function form([type, content]) {
  return content.schema?.$ref ? `${type} (${typeOf(content.schema)})` : type;
}

function properties(schema) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([name, each]) => [
    name, typeOf(each), [required.has(name) ? "" : standard(each), each.description ?? ""].join(" ").trim(),
  ]);
  return table(["Name", "Type", "Meaning"], rows);
}

function standard(schema) {
  return "default" in schema && schema.default !== null ? `(${JSON.stringify(schema.default)})` : "";
}

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(", ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {})}`;
  const range = [schema.minimum, schema.maximum].filter((each) => each !== undefined);
  return `${schema.type ?? "anything"}${range.length === 2 ? ` from ${range[0]} to ${range[1]}` : ""}`;
}

function table(names, rows) {
  const made = element("table");
  const head = made.createTHead().insertRow();
  head.append(...names.map((name) => element("th", name)));
  const body = made.createTBody();
  for (const cells of rows) body.insertRow().append(...cells.map((text) => element("td", text)));
  return made;
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
