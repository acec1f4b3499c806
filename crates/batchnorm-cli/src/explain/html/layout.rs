//! A layered drawing of a graph without cycles (Sugiyama, Tagawa and Toda 1981), from the top down.
//!
//! 1. Each node has a rank, one more than the lowest it hangs on; sources come down to what uses them. Ranks are even:
//!    labels have the odd ones in between, so that no label lies on anything.
//! 2. Links over several ranks get a place in each, one of which holds the label.
//! 3. Places in a rank are ordered by the mean of their neighbours' positions, in turns down and up; the order with the
//!    fewest crossings stays.
//! 4. Places move towards the mean of their neighbours as far as their order and distances allow.

/// Width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub width: f64,
    pub height: f64,
}

/// A place on the drawing; of what has a size, its middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// A link between two nodes, by their numbers, with a label.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub from: usize,
    pub to: usize,
    pub label: Size,
}

/// Places of all parts of the drawing.
#[derive(Debug)]
pub struct Drawing {
    pub size: Size,
    pub nodes: Vec<Point>,
    pub links: Vec<Route>,
}

/// The course of a link.
#[derive(Debug)]
pub struct Route {
    /// From the lower edge of a node to the upper edge of another.
    pub points: Vec<Point>,
    pub label: Point,
}

/// Distance between neighbours in a rank.
const GAP: f64 = 14.0;
/// Distance between ranks.
const RISE: f64 = 11.0;
/// Rounds of ordering, and of moving.
const TURNS: usize = 200;
/// The pull within long links, which keeps them straight; other links pull by 1.
const STRAIGHT: f64 = 30.0;
/// The pull of a source with one use, so small that the source stands aside.
const ASIDE: f64 = 0.05;

/// A node, a label, or where a link passes.
struct Place {
    rank: usize,
    size: Size,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Draws. Every link leads to a node of a higher number.
pub fn layered(nodes: &[Size], links: &[Link]) -> Drawing {
    let ranks = ranks(nodes.len(), links);
    let place = |(&size, &rank): (&Size, &usize)| Place { rank, size, above: Vec::new(), below: Vec::new() };
    let mut places: Vec<Place> = nodes.iter().zip(&ranks).map(place).collect();
    let mut chains = Vec::new();
    for link in links {
        let (top, bottom) = (ranks[link.from], ranks[link.to]);
        // The odd rank in the middle; of two the upper one.
        let labelled = (top + bottom) / 2 - usize::from((top + bottom) / 2 % 2 == 0);
        let mut chain = vec![link.from];
        for rank in top + 1..bottom {
            let size = if rank == labelled { link.label } else { Size { width: 8.0, height: 0.0 } };
            places.push(Place { rank, size, above: Vec::new(), below: Vec::new() });
            chain.push(places.len() - 1);
        }
        chain.push(link.to);
        for pair in chain.windows(2) {
            places[pair[0]].below.push(pair[1]);
            places[pair[1]].above.push(pair[0]);
        }
        chains.push((chain, labelled));
    }
    let order = ordered(&places);
    let x = columns(&places, &order);
    let (y, height) = rows(&places, &order);
    let width = places.iter().zip(&x).map(|(place, x)| x + place.size.width / 2.0).fold(0.0, f64::max);
    let at = |place: usize| Point { x: x[place], y: y[place] };
    let route = |(chain, labelled): &(Vec<usize>, usize)| {
        let (first, last) = (chain[0], chain[chain.len() - 1]);
        let mut points: Vec<Point> = chain.iter().map(|&place| at(place)).collect();
        let end = points.len() - 1;
        // The ends of several links at one node stand side by side, in the order of where they lead.
        let spread = |among: &[usize], neighbour: usize, width: f64| {
            let mut among: Vec<usize> = among.to_vec();
            among.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
            let place = among.iter().position(|&place| place == neighbour).unwrap_or(0) as f64 + 0.5;
            (place / among.len() as f64 - 0.5) * width * 0.6
        };
        points[0].x += spread(&places[first].below, chain[1], places[first].size.width);
        points[end].x += spread(&places[last].above, chain[end - 1], places[last].size.width);
        points[0].y += places[first].size.height / 2.0;
        points[end].y -= places[last].size.height / 2.0;
        let label = chain.iter().find(|&&place| places[place].rank == *labelled).map_or(points[0], |&place| at(place));
        Route { points, label }
    };
    Drawing {
        size: Size { width, height },
        nodes: (0..nodes.len()).map(at).collect(),
        links: chains.iter().map(route).collect(),
    }
}

fn ranks(nodes: usize, links: &[Link]) -> Vec<usize> {
    let mut ranks = vec![0; nodes];
    let mut in_order: Vec<&Link> = links.iter().collect();
    in_order.sort_by_key(|link| link.from);
    for link in &in_order {
        ranks[link.to] = ranks[link.to].max(ranks[link.from] + 2);
    }
    for node in (0..nodes).filter(|&node| links.iter().all(|link| link.to != node)) {
        let lowest = links.iter().filter(|link| link.from == node).map(|link| ranks[link.to]).min();
        ranks[node] = lowest.map_or(0, |lowest| lowest - 2);
    }
    ranks
}

/// The places of each rank, from left to right.
fn ordered(places: &[Place]) -> Vec<Vec<usize>> {
    let last = places.iter().map(|place| place.rank).max().unwrap_or(0);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); last + 1];
    // Places of links first, nodes after them: long links begin on the left of the nodes that they pass.
    for (number, place) in places.iter().enumerate().rev() {
        order[place.rank].push(number);
    }
    let mut best = (crossings(places, &order), order.clone());
    for turn in 0..TURNS {
        let down = turn % 2 == 0;
        let ranks: Vec<usize> = if down { (1..=last).collect() } else { (0..last).rev().collect() };
        for rank in ranks {
            let beside = &order[if down { rank - 1 } else { rank + 1 }];
            let position = |place: &usize| beside.iter().position(|other| other == place).unwrap_or(0) as f64;
            let mean = |&place: &usize| {
                let neighbours = if down { &places[place].above } else { &places[place].below };
                let sum: f64 = neighbours.iter().map(position).sum();
                if neighbours.is_empty() { f64::INFINITY } else { sum / neighbours.len() as f64 }
            };
            let mut sorted: Vec<(f64, usize)> = order[rank].iter().map(|place| (mean(place), *place)).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            order[rank] = sorted.into_iter().map(|(_, place)| place).collect();
        }
        let crossings = crossings(places, &order);
        if crossings < best.0 {
            best = (crossings, order.clone());
        }
    }
    best.1
}

fn crossings(places: &[Place], order: &[Vec<usize>]) -> usize {
    let mut position = vec![0; places.len()];
    order.iter().flat_map(|rank| rank.iter().enumerate()).for_each(|(at, &place)| position[place] = at);
    let links: Vec<(usize, usize, usize)> = (0..places.len())
        .flat_map(|place| places[place].below.iter().map(move |&below| (place, below)))
        .map(|(above, below)| (places[above].rank, position[above], position[below]))
        .collect();
    let cross = |a: &(usize, usize, usize), b: &(usize, usize, usize)| a.0 == b.0 && a.1 < b.1 && a.2 > b.2;
    links.iter().map(|a| links.iter().filter(|b| cross(a, b)).count()).sum()
}

/// The middle of each place from left to right.
fn columns(places: &[Place], order: &[Vec<usize>]) -> Vec<f64> {
    let mut x = vec![0.0; places.len()];
    // The middle of each place if its rank were packed to the left.
    let mut packed = vec![0.0; places.len()];
    for rank in order {
        let mut right = 0.0;
        for &place in rank {
            packed[place] = right + places[place].size.width / 2.0;
            right += places[place].size.width + GAP;
        }
    }
    for rank in order {
        rank.iter().for_each(|&place| x[place] = packed[place]);
    }
    for turn in 0..TURNS {
        let ranks: Vec<&Vec<usize>> = if turn % 2 == 0 { order.iter().collect() } else { order.iter().rev().collect() };
        for rank in ranks {
            let wanted = rank.iter().map(|&place| {
                let above = places[place].above.iter().map(|&other| (other, pull(places, other, place)));
                let below = places[place].below.iter().map(|&other| (other, pull(places, place, other)));
                let neighbours = above.chain(below);
                let (sum, pulls) =
                    neighbours.fold((0.0, 0.0), |(sum, pulls), (other, pull)| (sum + pull * x[other], pulls + pull));
                // Distances beyond the packed places need only ascend: then no two places overlap.
                let wanted = if pulls == 0.0 { x[place] } else { sum / pulls };
                (wanted - packed[place], pulls.max(ASIDE))
            });
            let beyond = ascending(&wanted.collect::<Vec<_>>());
            for (&place, beyond) in rank.iter().zip(beyond) {
                x[place] = packed[place] + beyond;
            }
        }
    }
    let left = places.iter().zip(&x).map(|(place, x)| x - place.size.width / 2.0).fold(f64::INFINITY, f64::min);
    x.iter().map(|x| x - left).collect()
}

/// The strength with which two linked places pull each other to the same column.
fn pull(places: &[Place], above: usize, below: usize) -> f64 {
    let passes = |place: usize| places[place].above.len() == 1 && places[place].below.len() == 1;
    let aside =
        |place: usize| places[place].above.is_empty() && places[place].below.len() == 1 && places[place].rank > 0;
    match (passes(above), passes(below)) {
        (true, true) => STRAIGHT,
        _ if aside(above) || passes(above) && aside(places[above].above[0]) => ASIDE,
        _ => 1.0,
    }
}

/// The ascending numbers nearest to some, in squares by weight: neighbours that are out of order become their mean.
fn ascending(wanted: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for &(value, weight) in wanted {
        let mut pool = (value, weight, 1);
        while let Some(&(mean, weight, count)) = pools.last()
            && mean > pool.0
        {
            let both = weight + pool.1;
            pool = ((mean * weight + pool.0 * pool.1) / both, both, count + pool.2);
            pools.pop();
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(mean, _, count)| std::iter::repeat_n(mean, count)).collect()
}

/// The middle of each place from the top down, and the whole height.
fn rows(places: &[Place], order: &[Vec<usize>]) -> (Vec<f64>, f64) {
    let mut y = vec![0.0; places.len()];
    let mut top = 0.0;
    for rank in order {
        let height = rank.iter().map(|&place| places[place].size.height).fold(0.0, f64::max);
        rank.iter().for_each(|&place| y[place] = top + height / 2.0);
        top += height + RISE;
    }
    (y, (top - RISE).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Size = Size { width: 100.0, height: 30.0 };
    const LABEL: Size = Size { width: 60.0, height: 20.0 };

    /// Whether two boxes, by their middles and sizes, overlap.
    fn overlap((a, of_a): (Point, Size), (b, of_b): (Point, Size)) -> bool {
        (a.x - b.x).abs() < (of_a.width + of_b.width) / 2.0 - 1e-6
            && (a.y - b.y).abs() < (of_a.height + of_b.height) / 2.0 - 1e-6
    }

    #[test]
    fn nothing_lies_on_anything_and_links_go_down() {
        for links in [
            // Batch norm's; a chain; a diamond with a link over two ranks; two parts.
            &[(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (4, 6), (5, 6), (6, 7), (2, 8), (7, 8), (9, 10), (8, 10)][..],
            &[(0, 1), (1, 2)],
            &[(0, 1), (0, 2), (1, 3), (2, 3), (0, 4), (3, 4)],
            &[(0, 1), (2, 3)],
        ] {
            let count = links.iter().map(|link| link.1 + 1).max().unwrap();
            let links: Vec<Link> = links.iter().map(|&(from, to)| Link { from, to, label: LABEL }).collect();
            let drawing = layered(&vec![NODE; count], &links);
            let mut things: Vec<(Point, Size)> = drawing.nodes.iter().map(|&point| (point, NODE)).collect();
            things.extend(drawing.links.iter().map(|route| (route.label, LABEL)));
            for (number, &thing) in things.iter().enumerate() {
                assert!(things[..number].iter().all(|&other| !overlap(thing, other)), "{number} of {links:?}");
                let (point, size) = thing;
                assert!(point.x - size.width / 2.0 > -1e-6 && point.x + size.width / 2.0 < drawing.size.width + 1e-6);
                assert!(
                    point.y - size.height / 2.0 > -1e-6 && point.y + size.height / 2.0 < drawing.size.height + 1e-6
                );
            }
            for (route, link) in drawing.links.iter().zip(&links) {
                assert!(route.points.windows(2).all(|pair| pair[0].y < pair[1].y));
                let (from, to) = (drawing.nodes[link.from], drawing.nodes[link.to]);
                let (first, last) = (route.points[0], route.points[route.points.len() - 1]);
                assert!((first.x - from.x).abs() <= NODE.width / 2.0 && first.y == from.y + NODE.height / 2.0);
                assert!((last.x - to.x).abs() <= NODE.width / 2.0 && last.y == to.y - NODE.height / 2.0);
            }
        }
    }

    #[test]
    fn numbers_in_order_stay_and_others_meet() {
        let alike = |wanted: &[f64]| ascending(&wanted.iter().map(|&value| (value, 1.0)).collect::<Vec<_>>());
        assert_eq!(alike(&[1.0, 2.0, 2.0, 5.0]), [1.0, 2.0, 2.0, 5.0]);
        assert_eq!(alike(&[3.0, 1.0, 5.0, 4.0, 3.0]), [2.0, 2.0, 4.0, 4.0, 4.0]);
        assert_eq!(ascending(&[(4.0, 3.0), (0.0, 1.0)]), [3.0, 3.0]);
        // A crossing that can be undone is.
        let links = [(0, 3), (1, 2)].map(|(from, to)| Link { from, to, label: LABEL });
        let drawing = layered(&[NODE; 4], &links);
        assert_eq!(drawing.nodes[0].x < drawing.nodes[1].x, drawing.nodes[3].x < drawing.nodes[2].x);
    }
}
