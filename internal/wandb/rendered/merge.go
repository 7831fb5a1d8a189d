package rendered

// Merge gives the items of all lists; where a key comes twice, its later value
// counts, in the earlier place.
func Merge(lists ...[]Item) []Item {
	var out []Item
	at := map[string]int{}
	for _, list := range lists {
		for _, item := range list {
			if i, ok := at[item.Key]; ok {
				out[i] = item
				continue
			}
			at[item.Key] = len(out)
			out = append(out, item)
		}
	}
	return out
}
