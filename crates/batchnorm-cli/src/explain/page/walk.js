// The walk over the graph: crates/batchnorm/src/reference/graph, operation by operation in the same order, so that doubles
// give the same bits.

const sum = (values) => values.reduce((total, value) => total + value, 0);
const at = (values, i) => (values.length === 1 ? values[0] : values[i]);

const OPERATIONS = {
  mean: { value: ([a]) => [sum(a) / a.length], slope: (_, [a]) => [1 / a.length] },
  subtract: { value: each((a, b) => a - b), slope: (operand) => [operand === 1 ? -1 : 1] },
  square: { value: ([a]) => a.map((a) => a * a), slope: (_, [a]) => a.map((a) => 2 * a) },
  root_of_sum: { value: each((a, b) => Math.sqrt(a + b)), slope: (_, __, value) => value.map((root) => 1 / (2 * root)) },
  reciprocal: { value: ([a]) => a.map((a) => 1 / a), slope: (_, [a]) => a.map((a) => -(1 / (a * a))) },
  multiply: { value: each((a, b) => a * b), slope: (operand, operands) => operands[1 - operand] },
  add: { value: each((a, b) => a + b), slope: () => [1] },
};

function each(of) {
  return ([a, b]) => Array.from({ length: Math.max(a.length, b.length) }, (_, i) => of(at(a, i), at(b, i)));
}

const BACK = {
  each_to_each: (gradient, local) => gradient.map((part, i) => part * at(local, i)),
  one_to_each: (gradient, local) => [sum(gradient.map((part, i) => part * at(local, i)))],
  each_to_one: (gradient, local, count) => new Array(count).fill(gradient[0] * local[0]),
};

// Values of all nodes and local derivatives of all edges, from the values of the leaves by name.
function forward(graph, leaves) {
  const values = [];
  graph.nodes.forEach((node, place) => {
    const operands = graph.edges.filter((edge) => edge.to === place).map((edge) => values[edge.from]);
    values.push(node.operation === 'leaf' ? leaves[node.name] : OPERATIONS[node.operation].value(operands));
  });
  const locals = graph.edges.map((edge) => {
    const operands = graph.edges.filter((other) => other.to === edge.to).map((other) => values[other.from]);
    return OPERATIONS[graph.nodes[edge.to].operation].slope(edge.operand, operands, values[edge.to]);
  });
  return { values, locals };
}

// Gradients of all nodes, and what flows back along all edges.
function backward(graph, { values, locals }, dy) {
  const gradients = [];
  const flows = [];
  for (let place = graph.nodes.length - 1; place >= 0; place--) {
    const uses = graph.edges.map((edge, number) => number).filter((number) => graph.edges[number].from === place);
    gradients[place] = uses.length === 0 ? dy : values[place].map((_, i) => sum(uses.map((number) => flows[number][i])));
    graph.edges.forEach((edge, number) => {
      if (edge.to === place) flows[number] = BACK[edge.join](gradients[place], locals[number], graph.count);
    });
  }
  return { gradients, flows };
}

// d y_i / d x_l, row by row: n walks backward, each from one y.
function jacobian(graph, pass) {
  const rows = [];
  for (let i = 0; i < graph.count; i++) {
    const dy = new Array(graph.count).fill(0);
    dy[i] = 1;
    rows.push(...backward(graph, pass, dy).gradients[0]);
  }
  return rows;
}

// The gradient along the directions that a norm does not let through.
function directions(value, dx, dy) {
  const xhat = value('normalized');
  const [r] = value('inverse');
  const [epsilon] = value('epsilon');
  const [v] = value('variance') ?? value('mean_square');
  const gamma = value('gamma');
  const products = dx.map((dx, i) => dx * xhat[i]);
  return {
    constant: sum(dx),
    constant_size: sum(dx.map(Math.abs)),
    stretch: sum(products),
    stretch_size: sum(products.map(Math.abs)),
    along: r * sum(dy.map((dy, i) => at(gamma, i) * dy * xhat[i])),
    left: epsilon / (v + epsilon),
    products,
  };
}

// How values are spread.
function statistics(values) {
  const mean = sum(values) / values.length;
  return {
    least: Math.min(...values),
    largest: Math.max(...values),
    mean,
    deviation: Math.sqrt(sum(values.map((value) => (value - mean) * (value - mean))) / values.length),
  };
}

