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
        ("{{range .Empty}}a{{else}}none{{end}}", "none"),
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
    ],
)
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
