"""Go templates: what --format prints."""

from __future__ import annotations

import pytest

from sixhops.docker.screen.template import TemplateError, parse

DATA = {
    "A": {"B": [1, 2, {"C": "x"}], "L": {"k": "v", "a": "b"}, "Binds": None, "PidsLimit": None, "Labels": None},
    "Name": "/foo", "T": True, "F": 1.5, "Empty": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.A.B}}", "[1 2 map[C:x]]"),
        ("{{json .A.L}}", '{"k":"v","a":"b"}'),
        ('{{index .A.L "k"}}{{index .A.B 1}}', "v2"),
        ("{{(index .A.B 2).C}}", "x"),
        ("{{range .A.L}}<{{.}}>{{end}}", "<b><v>"),
        ("{{range $i, $e := .A.B}}{{$i}},{{end}}", "0,1,2,"),
        ("{{range .A.Binds}}a{{else}}none{{end}}", "none"),
        ("{{if .Empty}}a{{else if .T}}b{{else}}c{{end}}", "b"),
        ("{{if not .T}}a{{end}}{{if and .T .Name}}b{{end}}{{if or .Empty .T}}c{{end}}", "bc"),
        ("{{with .A}}{{index .L `k`}}{{$.Name}}{{end}}", "v/foo"),
        ("{{len .A.B}} {{len .Name}}", "3 4"),
        ("{{println .Name .T}}", "/foo true\n"),
        ("{{.A.Binds}} {{.A.PidsLimit}} {{.A.Labels}} {{.Nowhere}}", "[] <nil> map[] <no value>"),
        ('{{printf "%s-%d|%5s|%q" .Name 3 "a" "b"}}', '/foo-3|    a|"b"'),
        ("a {{- .Name -}} b", "a/foob"),
        ("{{/* nothing */}}x", "x"),
        ("{{$x := .Name}}{{$x | upper}}", "/FOO"),
        ('{{if eq .Name "/bar" "/foo"}}eq{{end}}{{if lt 1 2}}lt{{end}}', "eqlt"),
        (
            '{{join (split "a,b" ",") "-"}} {{title "ab cd"}} {{pad "x" 1 2}}|{{truncate "abc" 2}}',
            "a-b Ab Cd  x  |ab",
        ),
        ("{{.F}} {{.T}}", "1.5 true"),
        ('{{define "x"}}<{{.}}>{{end}}{{template "x" .Name}}{{block "y" .T}}{{.}}{{end}}', "</foo>true"),
        ("{{range .A.B}}{{.}}{{break}}{{end}} {{range .A.B}}{{continue}}x{{end}}", "1 "),
        ("{{html `<a>`}} {{js `a'b`}} {{urlquery `a b/`}}", "&lt;a&gt; a\\'b a+b%2F"),
        ("{{.Name|}}", "/foo"),
    ],
)
def test_rendering(text, expected):
    assert parse(text).render(DATA) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{.Foo", "template: :1: unclosed action"),
        ("{{foo .Name}}", 'template: :1: function "foo" not defined'),
        ("{{if .T}}a", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{$x}}", 'template: :1: undefined variable "$x"'),
        ("{{.T.}}", "template: :1: unexpected <.> in operand"),
        ("{{.T}", "template: :1: bad character U+007D '}'"),
        ("{{/* a}}", "template: :1: unclosed comment"),
        ("{{|}}", 'template: :1: unexpected "|" in command'),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ("{{$x, $y := .T}}", "template: :1: too many declarations in command"),
        ("{{nil}}", 'template: :1:2: executing "" at <nil>: nil is not a command'),
        ("{{1 2}}", 'template: :1:2: executing "" at <1>: can\'t give argument to non-function 1'),
        ("{{split .Name}}", 'template: :1:2: executing "" at <split>: wrong number of args for split: want 2 got 1'),
        ("{{printf}}", 'template: :1:2: executing "" at <printf>: wrong number of args for printf: want at least 1 got 0'),
        ("{{title 1}}", 'template: :1:8: executing "" at <1>: expected string; found 1'),
        ("{{lower .T}}", 'template: :1:8: executing "" at <.T>: wrong type for value; expected string; got bool'),
        ("{{range .Name}}{{end}}", 'template: :1:8: executing "" at <.Name>: range can\'t iterate over /foo'),
        ('{{template "x"}}', 'template: :1:11: executing "" at <{{template "x"}}>: template "x" not defined'),
        ('{{define "x"}}{{template "x"}}{{end}}{{template "x"}}',
         'template: :1:25: executing "" at <{{template "x"}}>: exceeded maximum template depth (100)'),
    ],
)  # fmt: skip
def test_a_template_that_is_wrong(text, message):
    with pytest.raises(TemplateError) as caught:
        parse(text).render(DATA)

    assert str(caught.value) == message


def test_a_missing_key_is_an_error_when_strict_and_says_where():
    with pytest.raises(TemplateError) as caught:
        parse("{{.A.Foo}}").render(DATA, strict=True)

    assert str(caught.value) == 'template: :1:4: executing "" at <.A.Foo>: map has no entry for key "Foo"'


@pytest.mark.parametrize(
    "text", ["{{index .A.B 9}}", "{{len .T}}", '{{if lt 1 "a"}}{{end}}', "{{index .T 1}}"]
)
def test_a_function_that_does_not_fit_its_arguments(text):
    with pytest.raises(TemplateError, match="error calling"):
        parse(text).render(DATA)
