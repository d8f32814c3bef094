// What Go's text/template makes of the cases in cases.json, with the functions that Docker's command line adds
// (docs.docker.com/engine/cli/formatting): `go run oracle.go < cases.json > expected.json`. Kept to make
// expected.json again when cases are added; no test runs it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

type answer struct {
	Out   string `json:"out"`
	Error string `json:"error,omitempty"`
}

func numbers(v any) any {
	switch x := v.(type) {
	case json.Number:
		if i, err := x.Int64(); err == nil {
			return int(i)
		}
		f, _ := x.Float64()
		return f
	case map[string]any:
		for k := range x {
			x[k] = numbers(x[k])
		}
	case []any:
		for i := range x {
			x[i] = numbers(x[i])
		}
	}
	return v
}

var functions = template.FuncMap{
	"json": func(v any) string {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v)
		return strings.TrimSpace(b.String())
	},
	"split": strings.Split,
	"join": func(v any, sep string) (string, error) {
		list, ok := v.([]any)
		if texts, is := v.([]string); is {
			return strings.Join(texts, sep), nil
		}
		if !ok {
			return "", fmt.Errorf("expected slice, got %T", v)
		}
		texts := []string{}
		for _, x := range list {
			texts = append(texts, fmt.Sprint(x))
		}
		return strings.Join(texts, sep), nil
	},
	"title": strings.Title,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"pad": func(s string, before, after int) string {
		if s == "" {
			return s
		}
		return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
	},
	"truncate": func(s string, n int) string {
		if len(s) < n {
			return s
		}
		return s[:n]
	},
}

func main() {
	var input struct {
		Value     any
		Templates []string
	}
	decoder := json.NewDecoder(os.Stdin)
	decoder.UseNumber()
	if err := decoder.Decode(&input); err != nil {
		panic(err)
	}
	value := numbers(input.Value)
	answers := map[string]answer{}
	for _, text := range input.Templates {
		t, err := template.New("").Funcs(functions).Parse(text)
		var out bytes.Buffer
		if err == nil {
			err = t.Execute(&out, value)
		}
		if err != nil {
			answers[text] = answer{"", err.Error()}
		} else {
			answers[text] = answer{out.String(), ""}
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	_ = encoder.Encode(answers)
}
