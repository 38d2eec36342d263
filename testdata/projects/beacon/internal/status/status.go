// Package status says how a beacon is.
package status

import "fmt"

// Line is what a beacon answers.
func Line(version, commit string, uid int) string {
	return fmt.Sprintf("beacon %s (%s) as %d\n", version, commit, uid)
}
