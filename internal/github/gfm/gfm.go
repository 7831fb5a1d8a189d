// Package gfm parses GitHub Flavored Markdown, for tests of what vobs writes.
package gfm

import (
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	table "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// Document is the content of a document as a reader sees it.
type Document struct {
	Headings []string
	// Tables have rows of cells, the titles first.
	Tables [][][]string
	// Paragraphs are those outside of tables and lists.
	Paragraphs []string
	// Code has the text of code blocks.
	Code []string
	// Markup names the kinds of nodes that are none of these: emphasis, links, HTML, lists.
	Markup []string
}

// Parse parses a document.
func Parse(source string) Document {
	var d Document
	p := parser{source: []byte(source)}
	root := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(p.source))
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Heading:
			d.Headings = append(d.Headings, p.text(n))
		case *ast.Paragraph:
			d.Paragraphs = append(d.Paragraphs, p.text(n))
		case *ast.FencedCodeBlock:
			d.Code = append(d.Code, string(n.Lines().Value(p.source)))
		case *table.Table:
			var rows [][]string
			for row := n.FirstChild(); row != nil; row = row.NextSibling() {
				var cells []string
				for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
					cells = append(cells, p.text(cell))
				}
				rows = append(rows, cells)
			}
			d.Tables = append(d.Tables, rows)
		default:
			p.markup = append(p.markup, n.Kind().String())
		}
	}
	d.Markup = p.markup
	return d
}

type parser struct {
	source []byte
	markup []string
}

// text returns the text of a block's inline nodes. A line break is a newline.
func (p *parser) text(block ast.Node) string {
	var b strings.Builder
	_ = ast.Walk(block, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering || n == block {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			b.WriteString(unescape(string(n.Value(p.source))))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte('\n')
			}
		case *ast.String:
			b.Write(n.Value)
		case *ast.RawHTML:
			if html := string(n.Segments.Value(p.source)); html == "<br>" {
				b.WriteByte('\n')
				return ast.WalkContinue, nil
			}
			p.markup = append(p.markup, n.Kind().String())
		default:
			p.markup = append(p.markup, n.Kind().String())
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// unescape resolves backslash escapes, which the parser leaves to whoever renders the text.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
