package status

import (
	"fmt"
	"io"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/overview"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// text is the status of the federation for people.
func (o *options) text(w io.Writer, data Data, layout printers.Layout) error {
	var b strings.Builder
	phase := string(data.Phase)
	if phase == "" {
		phase = "not founded"
	}
	fmt.Fprintf(&b, "ring %s   epoch %d   %s   %d cells   %s workloads\n", v1alpha1.RingName, data.Epoch, phase,
		len(data.Cells), printers.Count(data.Workloads))
	if len(data.Differs) > 0 {
		fmt.Fprintf(&b, "wanted ring: %s\n", strings.Join(data.Differs, " "))
	}
	for _, run := range data.Runs() {
		b.WriteString(run + "\n")
	}
	b.WriteString("\n")
	if len(data.Cells) > 0 {
		if err := overview.Table(data.Cells, o.env.Clock.Now(), layout).Write(&b); err != nil {
			return err
		}
		b.WriteString("\n")
	}
	if err := o.writeRouters(&b, data, layout); err != nil {
		return err
	}
	o.writeFindings(&b, data.Findings)
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *options) writeRouters(b *strings.Builder, data Data, layout printers.Layout) error {
	if data.RoutersHidden != "" {
		b.WriteString("routers: not shown: " + data.RoutersHidden + "\n")
		return nil
	}
	if len(data.Routers) == 0 {
		b.WriteString("routers: none registered\n")
		return nil
	}
	table := layout.Table("ROUTER", "EPOCH", "SEEN")
	for _, router := range data.Routers {
		epoch, seen := "-", "-"
		if router.Epoch > 0 {
			epoch = fmt.Sprintf("%d/%d", router.Epoch, data.Epoch)
		}
		if !router.Renewed.IsZero() {
			seen = printers.Age(router.Silence) + " ago"
		}
		table.Rows = append(table.Rows, []string{router.Name, epoch, seen})
	}
	return table.Write(b)
}

func (o *options) writeFindings(b *strings.Builder, findings []Finding) {
	style := printers.NewStyle(o.env.Interactive, o.env.Getenv)
	if len(findings) == 0 {
		b.WriteString(style.Good("✔") + " nothing needs attention\n")
		return
	}
	for _, finding := range findings {
		fmt.Fprintf(b, "%s %s\n  next: %s\n", style.Warn("!"), finding.Message, finding.Next)
	}
}

// cellText is the tree of one cell: what was measured, and the conditions that daemons wrote down.
func (o *options) cellText(w io.Writer, data Data) error {
	c := data.Cells[0]
	var b strings.Builder
	fmt.Fprintf(&b, "%s   %s\n", c.Name, c.State)
	rows := [][2]string{
		{"apiserver", apiserver(c)},
		{"ring", fmt.Sprintf("weight %d, wanted %d, expected share %s", c.Weight, c.WantedWeight, printers.Percent(c.Expected))},
		{"workloads", workloads(c)},
	}
	if c.Object != nil {
		for _, condition := range c.Object.Status.Conditions {
			text := string(condition.Status)
			if condition.Message != "" {
				text += "   " + condition.Message
			}
			since := printers.Age(o.env.Clock.Since(condition.LastTransitionTime.Time))
			rows = append(rows, [2]string{condition.Type, text + "   (" + since + ")"})
		}
	}
	for i, row := range rows {
		branch := "├─"
		if i == len(rows)-1 {
			branch = "└─"
		}
		fmt.Fprintf(&b, "%s %-12s %s\n", branch, row[0], row[1])
	}
	o.writeFindings(&b, data.Findings)
	_, err := io.WriteString(w, b.String())
	return err
}

func apiserver(c overview.Cell) string {
	var parts []string
	if c.Server != "" {
		parts = append(parts, c.Server)
	}
	if c.Version != "" {
		parts = append(parts, c.Version)
	}
	if c.LatencySeconds != nil {
		parts = append(parts, fmt.Sprintf("%.0fms", max(1, *c.LatencySeconds*1000)))
	}
	if c.Problem != "" {
		parts = append(parts, c.Problem)
	}
	return strings.Join(parts, "  ")
}

func workloads(c overview.Cell) string {
	if c.Workloads == nil {
		return "unknown"
	}
	text := printers.Count(*c.Workloads)
	if c.Share != nil {
		text += ", share " + printers.Percent(*c.Share)
	}
	return text
}
