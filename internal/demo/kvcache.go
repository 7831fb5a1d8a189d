package demo

// blockKey identifies the content of a full KV block, as vLLM's chained hash does: two
// blocks with the same key hold the same tokens after the same tokens. Blocks inside a
// group's shared prefix have owner -1-group, all others belong to one request.
type blockKey struct{ owner, index int }

// block is one KV block: in use while refs > 0, otherwise in the free list, where it
// keeps its content (and its key) until it is reused.
type block struct {
	refs       int
	keyed      bool
	key        blockKey
	prev, next int
}

// blockPool is vLLM's BlockPool: a free list in least-recently-freed order, and an index
// of the blocks by their content. Block 0 is the null block: it ends the list here, and
// is never allocated.
type blockPool struct {
	blocks []block
	index  map[blockKey]int
	free   int
	use    *residency // nil without --kv-cache-metrics
}

func newBlockPool(n int) *blockPool {
	p := &blockPool{blocks: make([]block, n), index: make(map[blockKey]int)}
	for i := 1; i < n; i++ {
		p.push(i)
	}
	return p
}

// push appends block i to the end of the free list, where it is taken last.
func (p *blockPool) push(i int) {
	b, end := &p.blocks[i], &p.blocks[0]
	b.prev, b.next = end.prev, 0
	p.blocks[end.prev].next = i
	end.prev = i
	p.free++
}

// unlink takes block i out of the free list.
func (p *blockPool) unlink(i int) {
	b := &p.blocks[i]
	p.blocks[b.prev].next = b.next
	p.blocks[b.next].prev = b.prev
	p.free--
}

// take allocates the block that was freed longest ago, and forgets its content. The
// caller has checked that a block is free.
func (p *blockPool) take() int {
	i := p.blocks[0].next
	p.unlink(i)
	p.use.taken(i)
	b := &p.blocks[i]
	if b.keyed {
		delete(p.index, b.key)
		b.keyed = false
	}
	b.refs = 1
	return i
}

// touch adds a reference to a block found by its content.
func (p *blockPool) touch(i int) {
	if p.blocks[i].refs == 0 {
		p.unlink(i)
	}
	p.blocks[i].refs++
	p.use.touched(i)
}

// release drops one reference to each block, last block first, so that the
// head of a prompt outlives its tail.
func (p *blockPool) release(blocks []int) {
	for n := len(blocks) - 1; n >= 0; n-- {
		i := blocks[n]
		if p.blocks[i].refs--; p.blocks[i].refs == 0 {
			p.push(i)
		}
	}
}

// remember adds block i to the index. If another block with the same content is there
// already, that one stays.
func (p *blockPool) remember(i int, k blockKey) {
	if _, ok := p.index[k]; ok || p.blocks[i].keyed {
		return
	}
	p.blocks[i].keyed, p.blocks[i].key = true, k
	p.index[k] = i
}

// usage is vLLM's kv_cache_usage_perc: the share of blocks in use, without the null
// block; cached blocks that no request refers to count as free.
func (p *blockPool) usage() float64 {
	total := len(p.blocks) - 1
	return float64(total-p.free) / float64(total)
}
