"""What docs/scenario-language.md says in sentences; the tables around it come from the grammar (`reference`)."""

from __future__ import annotations

from typing import Final

__all__ = ["DIRECT", "INTRODUCTION", "MESSAGES"]

INTRODUCTION: Final = """\
# The scenario language

<!-- Made by `python -m sixhops.harness.scenario.reference docs/scenario-language.md`; change the grammar, not
this file. -->

A scenario is one YAML file: what is given, what is done step by step, and what each hop must show. `sixhops
lint` checks files, `sixhops explain` tells what one does, and `scenarios/schema.json` is for editors.

The YAML is YAML 1.2's common core: `yes`, `no`, `on`, `off`, dates and numbers with leading zeros are text.
There is one document in a file, and it has no anchors or aliases (use `vars`). Keys are text and stand
once. Write `!any }` and not `!any}`: YAML would read the brace as part of the tag. Inside `{...}` and
`[...]`, put `"${name}"` in quotes.

## How values are compared

- Types count: `1` is not `true`, not `"1"` and not `1.0`.
- A mapping holds when the keys that it names hold; others may stand beside them. `{}` holds for an empty
  mapping only.
- A list holds when it has these elements in this order. `!some` stands for any number of elements.
- The messages of a hop hold when the listed ones are among them, in this order. `[]` or `!none` means that
  there were none. A `!not` element forbids what it names between its neighbours. A message is written as
  its line, or as a mapping of its fields ([what each hop's messages have](#messages)).
- Text is compared with bytes as UTF-8. Header names are compared in lower case.
- An empty text, `null` and a key that is not there are three different things.

## Variables

`${name}` stands anywhere in a value, and not in keys. A value that is one `${name}` alone keeps its type;
inside a longer text it becomes text. `$${` is a plain `${`. Paths go on with dots, `[0]`, `[-1]` and `["any
key"]`.

| root | what it holds |
|---|---|
| `images.RECIPE` | what is known of an image named in `images`: digest, id, layers and more |
| `target` | what is known of the target |
| `row` | the row of the `for` table |
| `scenario.unique` | a short text that no other run has, for names; `scenario.id` is the scenario's id |
| `letters[N]` | N times the letter a, for texts of a length that nobody wants to read |
| any other name | from `vars`, or from the `save` of an earlier step |

`save: {id: $.Id}` takes a part of the JSON body; `$stdout`, `$headers.location` and `$stream[0].id` take
other facets, and `$registry[0].path` a message. `{from: $stdout, re: "id=(.*)"}` takes the first group of a
regular expression.

## Matchers

A matcher stands anywhere in an expectation, also inside another one. YAML allows one tag for a value, so a
matcher directly in a matcher is written with a colon: `!not:contains "x"`, `!each:re "^a"`.

"""

DIRECT: Final = """
### Steps on the inner hops

`grpc`, `ttrpc`, `bundle` and `runc` steps speak to the programs of a stack that sixhops starts, as their callers do; at
other targets the scenario is skipped, with the reason. They need no taps.

```yaml
- bundle: b                             # ${b} is its directory from now on
  image: busybox                        # any recipe; it need not be in `images`
  config: {process: {args: [/bin/sh, -c, exit 7]}}
- background: out                       # the container writes to what runc was given
  runc: create --bundle ${b} c-${scenario.unique}
  expect: {exit: 0}                     # in the background this waits until runc has ended
- runc: start c-${scenario.unique}
  expect: {exit: 0, log: []}
- join: out                             # ends when nobody can write to the pipes any more
  expect: {stdout: ""}
- runc: delete c-${scenario.unique}

- background: events
  grpc: Events/Subscribe
- grpc: Containers/Create
  json:
    container:
      id: x
      spec: {"@type": types.containerd.io/opencontainers/runtime-spec/1/Spec, value: {ociVersion: 1.0.2}}
  expect: {status: OK, response: {container: {id: x, created_at: !time }}}
- await: events
  expect: {responses: [{topic: /containers/create}]}
- disconnect: events

- ttrpc: State                          # of the shim of a container that dockerd has started
  shim: ${id}
  namespace: moby
  json: {id: "${id}"}
  expect: {status: OK, response: {status: RUNNING}}
```

- A foreground `runc` step ends with runc: what its container writes later goes nowhere. `stdout` and `stderr` of a step in
  the background include it.
- A container's control group is below the stack's own unless `config` says otherwise.
- Every call goes where the stack's own callers go, so where a hop is tapped its message is on that hop as well.
- What is left at the end is removed and fails the scenario: containers in the scenario's --root, and containers, tasks,
  images, leases, snapshots, content and uploads in containerd. So delete them, in `cleanup` where a step between may fail.
"""

MESSAGES: Final = """
## Messages

What the taps saw on a hop during a step: from its beginning until it ended, over all attempts of an `eventually`; for
`join` and `await` since the background step began. A hop that can't be observed at a target is skipped there, with the
reason.

- **engine, registry**: `GET /v2/ -> 200`. Fields: method, path, query, status, request_headers, response_headers,
  request_body, response_body, request_json, response_json.
- **containerd**: `Tasks/Create -> OK`, `Tasks/Get -> NOT_FOUND`. Fields: call, service, method, kind, namespace, request,
  response, request_metadata, response_metadata, trailers, status, code, message, details, deadline, cancelled. An event
  of a subscription is `event /tasks/exit`, with topic, namespace, timestamp and event.
- **shim**: `Create -> OK`, `Events/Forward -> OK`. Fields: call, service, method, container, request, response, status,
  code, message. Its command line is `shim start -> 0` or `shim delete -> 0`, with call, command, argv, env, cwd, flags,
  container, bundle, stdin, stdout, stderr, exit.
- **runtime**: `create -> 0`, `kill -> 1`. Fields: call, command, argv, env, cwd, root, id, bundle, config (the bundle's
  config.json), flags, arguments, log, console_socket, pid_file, exit, duration.

On the containerd, shim and runtime hop:

- The name alone, `Tasks/Create`, stands for the call that succeeds (` -> OK`, ` -> 0`), or is still open (` -> ...`).
  What else can come of it is written out: `Tasks/Get -> NOT_FOUND`, `Tasks/Wait -> ...`.
- A mapping with `call` (or `command`) and nothing of the outcome stands for a call that succeeds as well:
  `{call: Tasks/Create, request: {container_id: "${id}"}}`. With `status`, `code`, `message`, `exit`, `error` or
  `complete` beside it, these say what came of it.
- After `!not` a name, or such a mapping, forbids the call, however it ends.

```yaml
- request: POST /containers/${id}/start
  expect:
    status: 204
    containerd: [Containers/Create, {call: Tasks/Create, request: {container_id: "${id}"}}, Tasks/Start, !not Tasks/Kill ]
    shim: [shim start, Create, Start]
    runtime: [{command: create, config: {process: {args: [sleep, "1000"]}}}, start]
- request: GET /containers/${id}/json
  expect: {runtime: !none }
```
"""
