// The page's settings, and showing what follows from them.
//
// The settings are fields, and stand in the address behind # where they differ from the start, so that a link keeps them:
// chosen=3&x.2=1.5&epsilon=0.001&gamma=2&beta=0.5&upstream=ones&node=variance (values are counted from 1 in `chosen`, from 0
// in `x.2`; gamma and beta carry their parameter's number where there are several). Whoever sets a field and sends `input`,
// or the address, gets all numbers anew, at once: every element with `data-v` shows the number its key names (keys:
// src/explain/html/numbers.rs). What is shown at the start are the layer's own numbers.
(() => {
  const graph = JSON.parse(document.getElementById('data').textContent);
  const find = (id) => document.getElementById(id);
  const place = Object.fromEntries(graph.nodes.map((node, number) => [node.name, number]));
  const start = Object.fromEntries(graph.nodes.filter((node) => node.operation === 'leaf').map((node) => [node.name, node.values]));
  const many = start.gamma.length > 1;
  const copy = () => structuredClone({ leaves: start, upstream: 'given' });

  let settings = copy();
  let chosen = 0;
  let node = 'x';
  let cell = { r: 0, c: 0 };
  let shown; // the numbers of the settings

  const fields = ['x', 'epsilon', 'gamma', 'beta'];
  const index = (name) => (name === 'x' || (many && (name === 'gamma' || name === 'beta')) ? chosen : 0);
  const isStart = () => settings.upstream === 'given' && fields.every((name) => settings.leaves[name].every((value, i) => value === start[name][i]));

  function compute() {
    const pass = forward(graph, settings.leaves);
    const dy = {
      given: () => graph.dy,
      ones: () => graph.dy.map(() => 1),
      xhat: () => pass.values[place.normalized],
      one: () => graph.dy.map((_, i) => (i === chosen ? 1 : 0)),
    }[settings.upstream]();
    const back = backward(graph, pass, dy);
    const values = isStart() ? graph.nodes.map((node) => node.values) : pass.values;
    const gradients = isStart() ? graph.nodes.map((node) => node.gradient) : back.gradients;
    const value = (name) => values[place[name]];
    shown = {
      values,
      gradients,
      locals: pass.locals,
      flows: back.flows,
      jacobian: jacobian(graph, pass),
      directions: directions((name) => pass.values[place[name]], gradients[place.x], dy),
      statistics: Object.fromEntries(['x', 'normalized', 'y'].map((name) => [name, statistics(value(name))])),
    };
  }

  // The number behind a key, as text.
  const element = (part) => ({ i: chosen, r: cell.r, c: cell.c })[part] ?? Number(part);
  const edge = Object.fromEntries(graph.edges.map((edge, number) => [`${graph.nodes[edge.from].name}>${graph.nodes[edge.to].name}`, number]));
  const DIGITS = 5;
  const KINDS = {
    v: (name, i) => [at(shown.values[place[name]], element(i)), graph.nodes[place[name]].digits],
    g: (name, i) => [at(shown.gradients[place[name]], element(i)), DIGITS],
    l: (name, i) => [at(shown.locals[edge[name]], element(i)), DIGITS],
    f: (name, i) => [at(shown.flows[edge[name]], element(i)), DIGITS],
    n: (i) => [element(i) + 1, DIGITS],
    j: (i, l) => [shown.jacobian[element(i) * graph.count + element(l)], DIGITS],
    d: (name) => [shown.directions[name], DIGITS],
    s: (statistic, name) => [shown.statistics[name][statistic], graph.nodes[place[name]].digits],
  };
  const text = (key) => {
    const [kind, ...parts] = key.split(' ');
    return figure(...KINDS[kind](...parts));
  };
  const numbers = [...document.querySelectorAll('[data-v]')];

  function showNumbers() {
    for (const element of numbers) {
      const number = text(element.dataset.v);
      const shown = 'guard' in element.dataset && number.startsWith('\u2212') ? `(${number})` : number;
      if (element.textContent !== shown) element.textContent = shown;
    }
  }

  // Values that are all alike (of RMS norm: all 0), normalised by what they have themselves.
  const own = place.variance ?? place.mean_square;
  const isStill = () =>
    graph.nodes[own].operation !== 'leaf' &&
    settings.leaves.x.every((value) => value === (place.variance === undefined ? 0 : settings.leaves.x[0]));

  const isFinite = (values) => values.every(Number.isFinite);

  function showPictures() {
    showCursor();
    // What is no number has no place on a line.
    if (![...shown.values, ...shown.gradients, shown.jacobian].every(isFinite)) return;
    document.querySelectorAll('[data-strip]').forEach((svg) => drawStrip(svg, shown.values[place[svg.dataset.strip]], chosen));
    drawSum(document.querySelector('[data-sum=constant]'), shown.gradients[place.x]);
    drawSum(document.querySelector('[data-sum=stretch]'), shown.directions.products);
    drawHeat(find('heat'), shown.jacobian, graph.count);
  }

  function showCursor() {
    find('cursor').setAttribute('x', cell.c);
    find('cursor').setAttribute('y', cell.r);
  }

  function showNode() {
    document.querySelectorAll('.detail').forEach((detail) => (detail.hidden = detail.dataset.node !== node));
    document.querySelectorAll('a.node').forEach((link) => {
      const own = link.dataset.node === node;
      if (own) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
      link.setAttribute('tabindex', own ? '0' : '-1');
    });
    document.querySelectorAll('[data-link]').forEach((link) => {
      link.classList.toggle('own', link.dataset.link.split('>').includes(node));
    });
  }

  // Numbers as a field has them: such that they are read back as they are.
  const written = (value) => String(value);
  const scale = (name) => {
    const [low, high] = graph.ranges[name];
    const value = settings.leaves[name][index(name)];
    const along = name === 'epsilon' ? Math.log10(Math.max(value, 1e-300)) : value;
    return Math.round((1000 * (along - low)) / (high - low));
  };

  function showFields(except) {
    find('chosen').value = String(chosen);
    find('upstream').value = settings.upstream;
    for (const name of fields) {
      if (except !== `${name}-field`) {
        find(`${name}-field`).value = written(settings.leaves[name][index(name)]);
        find(`${name}-field`).removeAttribute('aria-invalid');
      }
      if (except !== `${name}-slider`) find(`${name}-slider`).value = String(scale(name));
      find(`${name}-slider`).setAttribute('aria-valuetext', find(`${name}-field`).value);
    }
  }

  let saying;
  function say() {
    clearTimeout(saying);
    saying = setTimeout(() => {
      const spread = place.variance === undefined ? `mean square ${text('v mean_square 0')}` : `mean ${text('v mean 0')}, variance ${text('v variance 0')}`;
      find('said').textContent = `${spread}; value ${chosen + 1}: x ${text('v x i')}, y ${text('v y i')}, gradient ${text('g x i')}.`;
    }, 500);
  }

  let keeping;
  function keepAddress() {
    // Once, when a hand comes to rest: browsers refuse addresses that change too often.
    clearTimeout(keeping);
    keeping = setTimeout(writeAddress, 300);
  }

  function writeAddress() {
    const parts = [];
    if (chosen > 0) parts.push(`chosen=${chosen + 1}`);
    for (const name of fields) {
      settings.leaves[name].forEach((value, i) => {
        // Of values that share a parameter the first one stands for all.
        const shared = name !== 'x' && many && graph.parameters.indexOf(graph.parameters[i]) !== i;
        if (value !== start[name][i] && !shared) parts.push(`${name}${start[name].length > 1 ? '.' + i : ''}=${written(value)}`);
      });
    }
    if (settings.upstream !== 'given') parts.push(`upstream=${settings.upstream}`);
    if (node !== 'x') parts.push(`node=${node}`);
    try {
      history.replaceState(null, '', parts.length ? '#' + parts.join('&') : location.pathname + location.search);
    } catch {
      // A page that was not loaded from a place of its own has no address to keep anything in.
    }
  }

  function show(except) {
    compute();
    showNumbers();
    showPictures();
    showNode();
    showFields(except);
    find('still').hidden = !isStill();
    const nothing = shown.values[place.inverse][0] === Infinity || Number.isNaN(shown.values[place.inverse][0]);
    find('message').textContent = nothing
      ? 'A variance and an \u03b5 of 0 leave nothing to divide by. The layer declares y = \u03b2 and dx = 0 there.'
      : [...shown.values, ...shown.gradients].every(isFinite)
        ? ''
        : 'With these settings some number is too large for double precision.';
  }

  function changed(except) {
    show(except);
    keepAddress();
    say();
  }

  function set(name, i, value) {
    if (name !== 'x' && many && start[name].length > 1) {
      graph.parameters.forEach((parameter, k) => {
        if (parameter === graph.parameters[i]) settings.leaves[name][k] = value;
      });
    } else {
      settings.leaves[name][i] = value;
    }
  }

  const allowed = (name, value) => Number.isFinite(value) && Math.abs(value) <= 1e100 && (name !== 'epsilon' || value >= 0);
  const read = (text) => (text.trim() === '' ? NaN : Number(text.trim().replaceAll('\u2212', '-')));

  function readAddress() {
    // No name and no number in it needs escapes.
    const hash = location.hash.slice(1);
    clearTimeout(keeping);
    settings = copy();
    if (!hash.includes('=')) {
      // An anchor, such as #node-mean.
      if (Object.hasOwn(place, hash.replace('node-', ''))) node = hash.replace('node-', '');
      return show();
    }
    chosen = 0;
    for (const part of hash.split('&')) {
      const [key, value] = part.split('=');
      const [name, i = '0'] = key.split('.');
      if (name === 'chosen' && Number(value) >= 1 && Number(value) <= graph.count) chosen = Math.floor(Number(value)) - 1;
      if (name === 'upstream' && [...find('upstream').options].some((option) => option.value === value)) settings.upstream = value;
      if (name === 'node' && Object.hasOwn(place, value)) node = value;
      const known = fields.includes(name) && Number(i) in start[name];
      if (known && allowed(name, read(value ?? ''))) set(name, Number(i), read(value));
    }
    show();
  }

  for (const name of fields) {
    const field = find(`${name}-field`);
    const slider = find(`${name}-slider`);
    field.addEventListener('input', () => {
      const value = read(field.value);
      if (!allowed(name, value)) {
        field.setAttribute('aria-invalid', 'true');
        find('message').textContent = name === 'epsilon' ? '\u03b5: expected a number from 0 to 1e100.' : `${name}: expected a number of at most 1e100 in size.`;
        return;
      }
      field.removeAttribute('aria-invalid');
      set(name, index(name), value);
      changed(field.id);
    });
    field.addEventListener('change', () => show());
    slider.addEventListener('input', () => {
      const [low, high] = graph.ranges[name];
      const along = low + ((high - low) * Number(slider.value)) / 1000;
      const value = name === 'epsilon' ? 10 ** along : along;
      // Few digits, which the field can show.
      const digits = name === 'epsilon' ? 2 : name === 'x' ? graph.nodes[place.x].digits - 1 : 3;
      set(name, index(name), Number(value.toPrecision(digits)));
      changed(slider.id);
    });
  }

  function choose(value) {
    chosen = value;
    changed();
  }
  find('chosen').addEventListener('input', () => choose(Number(find('chosen').value)));
  find('upstream').addEventListener('input', () => {
    settings.upstream = find('upstream').value;
    changed();
  });
  find('reset').addEventListener('click', () => {
    settings = copy();
    changed();
  });
  find('controls').addEventListener('submit', (event) => event.preventDefault());

  // The graph: arrows go from node to node and choose, Enter goes to what is said of it.
  function chooseNode(name) {
    // On a narrow screen what is said of a node lies over the page, so not before it is asked for.
    document.documentElement.classList.add('asked');
    node = name;
    showNode();
    keepAddress();
  }
  const links = [...document.querySelectorAll('a.node')];
  const middle = (link) => {
    const box = link.getBBox();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  function neighbour(link, [right, down]) {
    const [x, y] = middle(link);
    const ahead = links
      .map((other) => [other, middle(other)])
      .map(([other, [u, v]]) => [other, (u - x) * right + (v - y) * down, Math.abs((u - x) * down) + Math.abs((v - y) * right)])
      .filter(([other, along, aside]) => other !== link && along > 1 && (down !== 0 || aside < 30));
    ahead.sort((a, b) => a[1] - b[1] || a[2] - b[2]);
    return ahead.length ? ahead[0][0] : link;
  }
  const ARROWS = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] };
  for (const link of links) {
    link.addEventListener('click', (event) => {
      event.preventDefault();
      chooseNode(link.dataset.node);
    });
    link.addEventListener('focus', () => {
      if (node !== link.dataset.node) chooseNode(link.dataset.node);
    });
    link.addEventListener('keydown', (event) => {
      if (event.key in ARROWS) {
        event.preventDefault();
        const next = neighbour(link, ARROWS[event.key]);
        chooseNode(next.dataset.node);
        next.focus();
      } else if (event.key === 'Enter' || event.key === ' ') {
        event.preventDefault();
        chooseNode(link.dataset.node);
        find(`title-${node}`).focus();
      }
    });
  }

  // Dots and bars choose their value.
  document.querySelectorAll('[data-i]').forEach((mark) => mark.addEventListener('click', () => choose(Number(mark.dataset.i))));

  // The Jacobian: pointing and arrows move the cursor.
  function moveTo(r, c) {
    cell = { r: Math.min(graph.count - 1, Math.max(0, r)), c: Math.min(graph.count - 1, Math.max(0, c)) };
    showCursor();
    showNumbers();
  }
  const heat = find('heat');
  heat.addEventListener('pointermove', pointed);
  heat.addEventListener('pointerdown', pointed);
  function pointed(event) {
    const box = heat.getBoundingClientRect();
    moveTo(Math.floor(((event.clientY - box.top) / box.height) * graph.count), Math.floor(((event.clientX - box.left) / box.width) * graph.count));
  }
  find('heat-box').addEventListener('keydown', (event) => {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    const [right, down] = ARROWS[event.key];
    moveTo(cell.r + down, cell.c + right);
  });

  document.documentElement.classList.add('scripted');
  find('controls').hidden = false;
  document.querySelectorAll('.when-scripted').forEach((part) => (part.hidden = false));
  addEventListener('hashchange', readAddress);
  readAddress();
})();
