// The page at /docs: renders the OpenAPI document.

const main = document.getElementById("operations");
const api = await (await fetch("/openapi.json")).json();

for (const [path, operations] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    main.append(...renderOperation(`${method.toUpperCase()} ${path}`, operation));
  }
}
main.append(createElement("h2", "Schemas"));
for (const [name, schema] of Object.entries(api.components.schemas)) {
  main.append(createElement("h3", name), createElement("p", schema.description), renderProperties(schema));
}

function renderOperation(title, operation) {
  const { summary, description = "" } = operation;
  const nodes = [createElement("h2", title), createElement("p", `${summary}. ${description}`)];
  for (const [type, { schema }] of Object.entries(operation.requestBody?.content ?? {})) {
    nodes.push(createElement("h3", `Request body, ${type}`), renderProperties(schema));
  }
  const responses = Object.entries(operation.responses).map(([status, { content, description }]) =>
    [status, Object.entries(content ?? {}).map(describeContent).join(", "), description]);
  nodes.push(createElement("h3", "Responses"), renderTable(["Status", "Content", "Description"], responses));
  return nodes;
}

function describeContent([type, { schema }]) {
  return schema?.$ref ? `${type} (${describeType(schema)})` : type;
}

function renderProperties(schema) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const note = required.has(name) ? "" : describeDefault(property);
    return [name, describeType(property), `${property.description ?? ""} ${note}`.trim()];
  });
  return renderTable(["Name", "Type", "Description"], rows);
}

function describeDefault({ default: value }) {
  const isEmpty = value === undefined || value === null || (Array.isArray(value) && !value.length);
  return isEmpty ? "" : `Default: ${JSON.stringify(value)}.`;
}

function describeType(schema, isPlural = false) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map((option) => describeType(option, isPlural)).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `${isPlural ? "lists" : "list"} of ${describeType(schema.items ?? {}, true)}`;
  const { type, minimum, maximum } = schema;
  const range = minimum === undefined || maximum === undefined ? "" : ` from ${minimum} to ${maximum}`;
  return type ? `${type}${isPlural ? "s" : ""}${range}` : "any";
}

function renderTable(names, rows) {
  const table = document.createElement("table");
  table.createTHead().insertRow().append(...names.map((name) => createElement("th", name)));
  const body = table.createTBody();
  for (const cells of rows) body.insertRow().append(...cells.map((text) => createElement("td", text)));
  return table;
}

function createElement(name, text = "") {
  const node = document.createElement(name);
  // Text between backticks is code.
  node.append(...text.split("`").map((part, index) => (index % 2 ? createElement("code", part) : part)));
  return node;
}
