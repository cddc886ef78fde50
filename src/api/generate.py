#!/usr/bin/env python3
"""Turns the type descriptions (types/*.api, resources.api) into C: structs and descriptor tables.

    generate.py DESCRIPTION... --header types.h --source types.c
    generate.py DESCRIPTION... --compatibility docs/compatibility.md
    generate.py DESCRIPTION... --check-compatibility docs/compatibility.md

A description holds, per type, `type NAME OPENAPI-NAME | one sentence`, then one indented line per field:

    NAME  TYPE  [attribute...] | one sentence

TYPE is string, bool, int32, int64, double, time, microtime, quantity, int-or-string, bytes, raw or the name
of a type; `*T` is optional (unset differs from zero), `[]T` a list, `map[string]T` a map.

Attributes: pb=N (number of the field in protobuf; pb=N.M: field M of message N, where upstream embeds a message
whose fields JSON has in line), required, always, set, retain-keys, extension (a raw field that holds any object,
upstream's RawExtension), key=A[,B] (list-map and strategic-merge
keys), map-key=A (list-map key only), default=JSON (no blanks), values=A,B,C (the allowed strings), inert=LATER
(accepted and stored, but does not act yet: LATER says, with _ for blanks, what it waits for), harmless=A,B
(values of an inert field that need no warning, because they ask for what happens anyway; so does its default).
"""
import re
import sys

SCALARS = {
    # name: (kind, C type as value, as optional, as list, as map)
    "string": ("API_STRING", "const char *", "const char *", "struct string_array ", "struct string_map "),
    "bool": ("API_BOOL", "bool ", "struct opt_bool ", None, None),
    "int32": ("API_INT32", "int32_t ", "struct opt_int32 ", "struct int32_array ", None),
    "int64": ("API_INT64", "int64_t ", "struct opt_int64 ", "struct int64_array ", None),
    "double": ("API_DOUBLE", "double ", None, None, None),
    "time": ("API_TIME", "int64_t ", "int64_t ", None, None),
    "microtime": ("API_MICRO_TIME", "int64_t ", "int64_t ", None, None),
    "quantity": ("API_QUANTITY", "const char *", "const char *", None, "struct string_map "),
    "int-or-string": ("API_INT_OR_STRING", "struct int_or_string ", "struct int_or_string ", None, None),
    "bytes": ("API_BYTES", "struct bytes ", None, None, "struct bytes_map "),
    "raw": ("API_RAW", "const char *", "const char *", None, None),
}
SHAPES = ("API_VALUE", "API_OPTIONAL", "API_ARRAY", "API_MAP")
FLAGS = {"required": "API_REQUIRED", "always": "API_ALWAYS", "set": "API_SET", "retain-keys": "API_RETAIN_KEYS",
         "extension": "API_EXTENSION"}
KEYWORDS = {"continue", "default", "linux", "register", "signed", "static", "switch", "unix"}


def fail(where, message):
    sys.exit(f"{where}: {message}")


def snake(name):
    name = re.sub(r"(IP|CIDR|API|GPU|URL)s(?=$|[A-Z])", lambda m: m.group(1).capitalize() + "s", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    return name + "_" if name in KEYWORDS else name


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Field:
    def __init__(self, where, line):
        head, _, self.doc = (part.strip() for part in line.partition("|"))
        words = head.split()
        if len(words) < 2:
            fail(where, "a field needs a name and a type")
        self.name, spelled = words[:2]
        self.c = snake(self.name)
        self.flags, self.keys, self.default, self.values, self.inert = [], None, None, None, None
        self.harmless, self.pb = None, None
        if not self.doc:
            fail(where, "a field needs a description")
        for word in words[2:]:
            key, _, value = word.partition("=")
            if word in FLAGS:
                self.flags.append(FLAGS[word])
            elif key == "pb":
                self.pb = value.split(".")
            elif key == "key":
                self.keys = value.split(",")
            elif key == "map-key":
                self.keys = value.split(",")
                self.flags.append("API_PATCH_ATOMIC")
            elif key == "default":
                self.default = value
            elif key == "values":
                self.values = value.split(",")
            elif key == "harmless":
                self.harmless = value.split(",")
            elif key == "inert":
                self.inert = value.replace("_", " ")
            else:
                fail(where, f"unknown attribute {word}")
        self.shape = 0
        for prefix, shape in (("*", 1), ("[]", 2), ("map[string]", 3)):
            if spelled.startswith(prefix):
                spelled, self.shape = spelled[len(prefix):], shape
        self.type = spelled

    def declaration(self, where):
        if self.type in SCALARS:
            c = SCALARS[self.type][1 + self.shape]
            if c is None:
                fail(where, f"{self.name}: no such shape of {self.type}")
        elif self.shape == 3:
            fail(where, f"{self.name}: maps of structs are not supported")
        else:
            struct = f"struct {snake(self.type)}"
            c = (struct + " ", struct + " *", struct + "_array ")[self.shape]
        return f"    {c}{self.c};"


class Type:
    def __init__(self, name, openapi, doc):
        self.name, self.openapi, self.doc, self.fields = name, openapi, doc, []
        self.c = snake(name)


class Resource:
    def __init__(self, where, words, types):
        self.plural, group_version, type_name = words[:3]
        self.group, _, self.version = group_version.rpartition("/")
        self.api_version = group_version
        self.type = types.get(type_name) or fail(where, f"no type {type_name}")
        self.kind, self.short, self.categories, self.subresources = type_name, [], [], []
        self.namespaced, self.storage, self.create_only, self.computed = True, None, False, False
        for word in words[3:]:
            key, _, value = word.partition("=")
            if word == "cluster":
                self.namespaced = False
            elif word == "create-only":
                self.create_only = True
            elif word == "computed":
                self.computed = True
            elif key == "kind":
                self.kind = value
            elif key == "storage":
                self.storage = value
            elif key in ("short", "categories", "subresources"):
                setattr(self, key, value.split(","))
            else:
                fail(where, f"unknown attribute {word}")


def parse(paths):
    types, resource_lines = {}, []
    for path in paths:
        current = None
        for number, line in enumerate(open(path, encoding="utf-8"), 1):
            where = f"{path}:{number}"
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("type "):
                head, _, doc = line[5:].partition("|")
                words = head.split()
                if len(words) != 2 or words[0] in types or not doc.strip():
                    fail(where, "expected `type NAME OPENAPI-NAME | doc`, each name once")
                current = types[words[0]] = Type(words[0], words[1], doc.strip())
            elif line.startswith("resource "):
                resource_lines.append((where, line.split()[1:]))
            elif line.startswith("    ") and current:
                current.fields.append(Field(where, line))
            else:
                fail(where, "expected a type, a field or a resource")
    for t in types.values():
        for f in t.fields:
            if f.type not in SCALARS and f.type not in types:
                fail(t.name, f"{f.name}: no type {f.type}")
    resources = [Resource(where, words, types) for where, words in resource_lines]
    plurals = [r.plural for r in resources]
    for i, r in enumerate(resources):
        r.first = plurals.index(r.plural) == i
        r.c = "API_" + (r.plural if r.first else r.group.split(".")[0] + "_" + r.plural).upper()
    return types, resources


def ordered(types):
    """Types such that every struct held by value comes before its holder."""
    done, out = set(), []

    def visit(t):
        if t.name in done:
            return
        done.add(t.name)
        for f in t.fields:
            if f.type in types and f.shape == 0:
                visit(types[f.type])
        out.append(t)

    for t in types.values():
        visit(t)
    return out


def header(types, resources):
    out = ["/* Made by src/api/generate.py from src/api/types/: do not edit. */",
           "#ifndef CORACLE_API_TYPES_H", "#define CORACLE_API_TYPES_H", "", '#include "api/type.h"', ""]
    for t in types.values():
        out += [f"struct {t.c};", f"struct {t.c}_array {{", f"    struct {t.c} *items;", "    size_t count;", "};"]
    for t in ordered(types):
        out += ["", f"/* {t.doc or t.name} */", f"struct {t.c} {{"]
        for f in t.fields:
            out.append(f.declaration(t.name))
        out += ["};", f"extern const struct api_type api_type_{t.c};"]
    out += ["", "enum api_resource_index {"] + [f"    {r.c}," for r in resources] + ["    API_RESOURCE_COUNT", "};"]
    return "\n".join(out + ["", "#endif", ""])


def strings(words):
    """A NULL-terminated array, as a compound literal."""
    return "(const char *const[]){" + ", ".join([quoted(w) for w in words] + ["NULL"]) + "}"


def source(types, resources):
    out = ["/* Made by src/api/generate.py from src/api/types/: do not edit. */", '#include "api/types.h"', ""]
    for t in types.values():
        if t.fields:
            out.append(f"static const struct api_field fields_{t.c}[] = {{")
        for f in t.fields:
            kind = SCALARS[f.type][0] if f.type in SCALARS else "API_STRUCT"
            flags = " | ".join(f.flags) or "0"
            parts = [f".name = {quoted(f.name)}", f".name_size = {len(f.name)}", f".doc = {quoted(f.doc)}", f".kind = {kind}",
                     f".shape = {SHAPES[f.shape]}", f".flags = {flags}", f".offset = offsetof(struct {t.c}, {f.c})"]
            if kind == "API_STRUCT":
                parts.append(f".type = &api_type_{snake(f.type)}")
            if f.pb:
                parts.append(f".pb = {{{', '.join(f.pb)}}}")
            if f.keys:
                parts.append(f".keys = {strings(f.keys)}")
            if f.default is not None:
                parts.append(f".default_json = {quoted(f.default)}")
            if f.values:
                parts.append(f".values = {strings(f.values)}")
            if f.inert:
                parts.append(f".inert = {quoted(f.inert)}")
            if f.harmless:
                parts.append(f".harmless = {strings(f.harmless)}")
            out.append("    {" + ", ".join(parts) + "},")
        if t.fields:
            out.append("};")
        out += [f"const struct api_type api_type_{t.c} = {{",
                f"    .name = {quoted(t.openapi.rpartition('.')[2])}, .openapi = {quoted(t.openapi)},",
                f"    .doc = {quoted(t.doc)},",
                f"    .fields = {'fields_' + t.c if t.fields else 'NULL'}, .field_count = {len(t.fields)},"
                f" .size = sizeof(struct {t.c})}};", ""]
    out += ["const struct api_type *const api_types[] = {"] + [f"    &api_type_{t.c}," for t in types.values()] + ["};"]
    out += [f"const size_t api_type_count = {len(types)};", "", "const struct api_resource api_resources[] = {"]
    for r in resources:
        has_status = any(f.name == "status" for f in r.type.fields)
        singular = "" if r.computed else r.kind.lower()
        storage = next(s.c for s in resources if s.plural == r.storage) if r.storage else r.c
        out.append(
            f"    [{r.c}] = {{.group = {quoted(r.group)}, .version = {quoted(r.version)},"
            f" .api_version = {quoted(r.api_version)}, .kind = {quoted(r.kind)},"
            f" .list_kind = {quoted(r.kind + 'List')}, .plural = {quoted(r.plural)}, .singular = {quoted(singular)},\n"
            f"        .short_names = {strings(r.short)}, .categories = {strings(r.categories)},\n"
            f"        .subresources = {strings(r.subresources)}, .type = &api_type_{r.type.c},\n"
            f"        .namespaced = {str(r.namespaced).lower()}, .create_only = {str(r.create_only).lower()}, .computed = {str(r.computed).lower()}, .index = {r.c}, .storage = {storage},\n"
            f"        .meta_offset = offsetof(struct {r.type.c}, metadata),"
            f" .status_offset = {'offsetof(struct %s, status)' % r.type.c if has_status else 0}}},")
    out += ["};", f"const size_t api_resource_count = {len(resources)};", ""]
    return "\n".join(out)


def inert_fields(type_, types, path="", inside=()):
    """(path, reason) of every field that does not act, below type_; what an inert field holds is not looked at."""
    for f in type_.fields:
        here = path + f.name + ("[]" if f.shape == 2 else "")
        if f.inert:
            yield here, f
        elif f.type in types and f.type not in inside:
            yield from inert_fields(types[f.type], types, here + ".", inside + (f.type,))


def compatibility(types, resources):
    out = ["# What acts, and what does not yet", "",
           "Made from the type descriptions (`src/api/types`) by `src/api/generate.py`: do not edit.", "",
           "Every field of the kinds below, as of Kubernetes v1.35, is accepted, validated and stored. The fields listed",
           "under \"Stored, but without effect yet\" do nothing else so far; an answer to a request that sets one carries a",
           "`Warning:` that says so. All other fields act.", "",
           "## Encodings", "",
           "Bodies may be JSON, YAML or protobuf; answers are JSON or YAML, whichever `Accept` prefers, as objects, lists,",
           "tables or metadata alone. Watches are JSON. Where a client accepts protobuf only, the answer is 406.", "",
           "## Managers of fields", "",
           "Which client set which field is not recorded yet. `fieldManager` is checked and has no further effect; kubectl",
           "sends it with every write, so this page says so and no warning does. `metadata.managedFields` of what a client",
           "sends is dropped, with a `Warning:`. Server-side apply (a patch of type `application/apply-patch+yaml`) is refused",
           "with 415, as upstream refuses it where it is turned off, and `force`, which belongs to it, with 422.", "",
           "## Kinds", "",
           "| Kind | API version | Resource | Short | Subresources |", "| --- | --- | --- | --- | --- |"]
    for r in resources:
        out.append(f"| {r.kind} | {r.api_version} | {r.plural} | {', '.join(r.short)} | {', '.join(r.subresources)} |")
    out += ["", "## Stored, but without effect yet", ""]
    for r in resources:
        fields = types.get(r.kind + "Spec", r.type).fields
        template = "spec.template" if any(f.type == "PodTemplateSpec" for f in fields) else (
            "spec.jobTemplate.spec.template" if any(f.type == "JobTemplateSpec" for f in fields) else None)
        if template:
            found = [(p, f) for p, f in inert_fields(r.type, types) if not p.startswith(template + ".")]
            note = f"`{template}`: as {next(k.kind for k in resources if k.plural == 'pods')}."
        else:
            found, note = list(inert_fields(r.type, types)), None
        same = "spec.initContainers[].", "spec.containers[]."
        paths = {path for path, _ in found}
        if any(path.startswith(same[0]) for path in paths):
            found = [(p, f) for p, f in found if p.replace(*same) == p or p.replace(*same) not in paths]
            note = f"`{same[0][:-1]}`: as `{same[1][:-1]}`."
        if not found and not note:
            continue
        out += [f"### {r.kind} ({r.api_version})", ""]
        if note:
            out += [note, ""]
        if found:
            out += ["| Field | Why |", "| --- | --- |"]
            for path, f in found:
                harmless = list(dict.fromkeys((f.harmless or []) + ([f.default.strip('"')] if f.default else [])))
                but = f" (`{'`, `'.join(harmless)}` {'is' if len(harmless) == 1 else 'are'} what happens anyway)" if harmless else ""
                out.append(f"| `{path}` | {f.inert}{but} |")
            out.append("")
    return "\n".join(out).rstrip() + "\n"


def main():
    arguments = sys.argv[1:]
    options = {}
    for name in ("--header", "--source", "--compatibility", "--check-compatibility"):
        if name in arguments:
            at = arguments.index(name)
            options[name] = arguments[at + 1]
            del arguments[at:at + 2]
    types, resources = parse(arguments)
    made = {"--header": header, "--source": source, "--compatibility": compatibility}
    for name, make in made.items():
        if name in options:
            with open(options[name], "w", encoding="utf-8") as out:
                out.write(make(types, resources))
    if "--check-compatibility" in options:
        path = options["--check-compatibility"]
        with open(path, encoding="utf-8") as present:
            if present.read() != compatibility(types, resources):
                sys.exit(f"{path} is out of date: ninja -C build compatibility")


main()
