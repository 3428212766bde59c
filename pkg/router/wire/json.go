package wire

import (
	"bytes"
	"slices"
)

// edit is a place in an encoded object and what stands around the version that is put there.
type edit struct {
	start, end    int
	before, after string
	version       string
}

// apply appends data to dst with all edits made. They are in the order of their places.
func apply(dst, data []byte, edits []edit) []byte {
	from := 0
	for _, e := range edits {
		dst = append(dst, data[from:e.start]...)
		dst = append(dst, e.before...)
		dst = append(dst, e.version...)
		dst = append(dst, e.after...)
		from = e.end
	}
	return append(dst, data[from:]...)
}

// document is one object in JSON: what it is, its metadata and where its version stands.
type document struct {
	views
	kind, apiVersion []byte
	// edits are the places of the resource version, one in any sane object.
	edits []edit
	// missing is where the version would be added, in the last metadata or for want of any.
	missing edit
	absent  bool
	// rows is where the rows of a Table begin, 0 where there are none.
	rows int
	// objects are the places of the object in a row, each with null to put there.
	objects []edit
}

// reset makes d empty and keeps its memory.
func (d *document) reset() { *d = document{edits: d.edits[:0], objects: d.objects[:0]} }

// read reads one object. Positions count from the beginning of the scanner's data.
func (d *document) read(s *scanner) error {
	d.absent = true
	empty, noMetadata := true, true
	err := s.object(func(key []byte) (err error) {
		empty = false
		switch string(key) {
		case "kind":
			d.kind, err = s.optionalText()
		case "apiVersion":
			d.apiVersion, err = s.optionalText()
		case "metadata":
			noMetadata = false
			err = d.readMetadata(s)
		case "rows":
			d.rows = s.pos
			err = s.skip()
		default:
			err = s.skip()
		}
		return err
	})
	if err == nil && noMetadata {
		d.missing = edit{start: s.pos - 1, end: s.pos - 1, before: `,"metadata":{"resourceVersion":"`, after: `"}`}
		if empty {
			d.missing.before = d.missing.before[1:]
		}
	}
	return err
}

func (d *document) readMetadata(s *scanner) error {
	d.views = views{}
	if null, err := s.null(); err != nil {
		return err
	} else if null {
		d.absent = true
		d.missing = edit{start: s.pos - len("null"), end: s.pos, before: `{"resourceVersion":"`, after: `"}`}
		return nil
	}
	open, empty := s.pos+1, true
	d.absent = true
	err := s.object(func(key []byte) (err error) {
		empty = false
		switch string(key) {
		case "name":
			d.name, err = s.optionalText()
		case "namespace":
			d.namespace, err = s.optionalText()
		case "uid":
			d.uid, err = s.optionalText()
		case "resourceVersion":
			err = d.readVersion(s)
		case "deletionTimestamp":
			var value []byte
			value, err = s.optionalText()
			d.deleting = len(value) > 0
		case "annotations":
			d.epoch, d.initialEventsEnd = nil, false
			err = s.texts(d.setAnnotation)
		case "labels":
			d.status = nil
			err = s.texts(d.setLabel)
		default:
			err = s.skip()
		}
		return err
	})
	d.missing = edit{start: open, end: open, before: `"resourceVersion":"`, after: `",`}
	if empty {
		d.missing.after = `"`
	}
	return err
}

func (d *document) readVersion(s *scanner) (err error) {
	if _, err = s.peek(); err != nil {
		return err
	}
	start := s.pos
	d.version, err = s.optionalText()
	d.absent = false
	d.edits = append(d.edits, edit{start: start, end: s.pos, before: `"`, after: `"`})
	return err
}

// texts reads the labels or annotations, of which most are skipped: one may hold a whole object, escaped.
func (s *scanner) texts(visit func(key, value []byte)) error {
	if null, err := s.null(); null || err != nil {
		return err
	}
	return s.object(func(key []byte) error {
		if !marks(key) {
			return s.skip()
		}
		value, err := s.optionalText()
		if err == nil {
			visit(key, value)
		}
		return err
	})
}

// versioned are the edits that give the object this version.
func (d *document) versioned(version string) []edit {
	if version == "" {
		return nil
	}
	if d.absent {
		d.absent = false
		d.edits = append(d.edits, d.missing)
	}
	for i := range d.edits {
		d.edits[i].version = version
	}
	return d.edits
}

func (d *document) isTable() bool {
	return string(d.kind) == "Table" && bytes.HasPrefix(d.apiVersion, []byte("meta.k8s.io/"))
}

func (d *document) isStatus() bool {
	return string(d.kind) == "Status" && string(d.apiVersion) == "v1"
}

// eachRow calls visit with the object of each row that has one; the document is good until visit returns.
func (d *document) eachRow(data []byte, visit func(object *document)) (rows int, err error) {
	if d.rows == 0 {
		return 0, nil
	}
	s := &scanner{data: data, pos: d.rows}
	if null, err := s.null(); null || err != nil {
		return 0, err
	}
	var object document
	err = s.array(func() error {
		object.reset()
		has, err := object.readRow(s)
		if err == nil && has {
			visit(&object)
		}
		rows++
		return err
	})
	return rows, err
}

// readRow reads one row of a Table and says whether it has an object.
func (d *document) readRow(s *scanner) (has bool, err error) {
	err = s.object(func(key []byte) error {
		if string(key) != "object" {
			return s.skip()
		}
		null, err := s.null()
		if has = !null; null || err != nil {
			return err
		}
		start := s.pos
		err = d.read(s)
		d.objects = append(d.objects, edit{start: start, end: s.pos, before: "null"})
		return err
	})
	return has, err
}

// readWhole reads data as one object and nothing else.
func (d *document) readWhole(data []byte) error {
	s := &scanner{data: data}
	if err := d.read(s); err != nil {
		return err
	}
	return s.end()
}

func readMetaJSON(data []byte) (Meta, error) {
	var d document
	if err := d.readWhole(data); err != nil {
		return Meta{}, err
	}
	return d.metaIn(data)
}

// metaIn is the metadata of an object that was read from data.
func (d *document) metaIn(data []byte) (Meta, error) {
	if d.isStatus() {
		return Meta{}, nil
	}
	if !d.isTable() {
		return d.meta(), nil
	}
	own := Meta{ResourceVersion: string(d.version)}
	var of Meta
	found := 0
	rows, err := d.eachRow(data, func(object *document) {
		of = object.meta()
		found++
	})
	if rows == 1 && found == 1 {
		return of, err
	}
	return own, err
}

func appendVersionedJSON(dst, data []byte, version func(Meta) string) ([]byte, error) {
	var d document
	if err := d.readWhole(data); err != nil {
		return nil, err
	}
	if d.isStatus() {
		return append(dst, data...), nil
	}
	if !d.isTable() {
		return apply(dst, data, d.versioned(version(d.meta()))), nil
	}
	var edits []edit
	of := Meta{ResourceVersion: string(d.version)}
	found := 0
	rows, err := d.eachRow(data, func(object *document) {
		meta := object.meta()
		if found++; found == 1 {
			of = meta
		}
		edits = append(edits, object.versioned(version(meta))...)
	})
	if err != nil {
		return nil, err
	}
	if rows != 1 {
		of = Meta{ResourceVersion: string(d.version)}
	}
	edits = append(edits, d.versioned(version(of))...)
	slices.SortFunc(edits, func(a, b edit) int { return a.start - b.start })
	return apply(dst, data, edits), nil
}
