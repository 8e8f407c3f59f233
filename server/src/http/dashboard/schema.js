// JSON Schemas as one would write the type by hand: names, kinds, what may be absent, and what is said of each.

const INDENT = "  ";
const DEPTH_MAX = 6;

/** `schema` of a description whose named schemas are `named`, as text. */
export function shape(schema, named, depth = 0, seen = []) {
  if (schema === true || !schema || !Object.keys(schema).length) return "any";
  if (schema === false) return "nothing";
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return seen.includes(name) || depth > DEPTH_MAX || !named[name] ? name : shape(named[name], named, depth, [...seen, name]);
  }
  if (schema.contentSchema) return `events, each ${shape(schema.contentSchema, named, depth, seen)}`;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(" | ");
  const several = schema.anyOf ?? schema.oneOf;
  if (several && !schema.properties) return [...new Set(several.map((one) => shape(one, named, depth, seen)))].join(" | ");
  const kinds = [schema.type ?? (schema.properties ? "object" : "any")].flat();
  return [...new Set(kinds.map((kind) => one(kind, schema, named, depth, seen)))].join(" | ");
}

function one(kind, schema, named, depth, seen) {
  if (kind === "array") {
    if (schema.prefixItems) return `[${schema.prefixItems.map((item) => shape(item, named, depth, seen)).join(", ")}]`;
    const items = shape(schema.items, named, depth, seen);
    return items.includes(" | ") ? `(${items})[]` : `${items}[]`;
  }
  if (kind === "object") return members(schema, named, depth, seen);
  return schema.format === "date-time" ? "time" : kind === "integer" ? "whole number" : kind === "string" ? "text" : kind;
}

function members(schema, named, depth, seen) {
  const all = Object.entries(schema.properties ?? {});
  const others = schema.additionalProperties;
  if (!all.length) return others && others !== true ? `{ name: ${shape(others, named, depth, seen)} }` : "{ … }";
  const required = schema.required ?? [];
  const pad = INDENT.repeat(depth + 1);
  const line = ([name, member]) => {
    const said = member.description && !member.description.includes("\n") ? `  // ${member.description}` : "";
    return `${pad}${name}${required.includes(name) ? "" : "?"}: ${shape(member, named, depth + 1, seen)}${said}`;
  };
  return `{\n${all.map(line).join("\n")}\n${INDENT.repeat(depth)}}`;
}
