//! A model file that is open: its bytes or its tensors, and the batch norms in it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use batchnorm_io::{beside, whole};
use thiserror::Error;

use crate::budget::{Budget, TooMuch};
use crate::excerpt::excerpt;
use crate::fold::{self, FoldError, Folding};
use crate::health::{self, Finding};
use crate::kind::{Kind, KindError};
use crate::layer::{Layer, Mode};
use crate::layers;
use crate::onnx::{AttributeValue, Graph, GraphError, Model, ReadError, Tensor};
use crate::parameters::Parameters;
use crate::repair::{self, Change, Left, RepairError};
use crate::statistics::{self, Statistics, StatisticsError};
use crate::weights::{self, SafetensorsError, ShardsError, Weights};

/// The largest file of ONNX: what protobuf's own readers take. A larger model has its tensors in other files.
const LARGEST: u64 = i32::MAX as u64;

/// A model file.
#[derive(Debug)]
pub struct ModelFile {
    path: PathBuf,
    kind: Kind,
    size: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Onnx(Vec<u8>),
    Weights(Weights),
}

/// What is in a model file, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its kind.
    pub kind: Kind,
    /// Its bytes, of all its files but those of ONNX's external data.
    pub size: u64,
    /// The program that wrote it, where it says so.
    pub maker: Option<String>,
    /// The version of its operators, of ONNX.
    pub opset: Option<i64>,
}

/// What was found in a model file.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// What it is.
    pub head: Head,
    /// Its batch norms, in the order of the file.
    pub layers: Vec<Layer>,
    /// What is wrong with them, the worst first.
    pub findings: Vec<Finding>,
}

/// A model that was mended.
#[derive(Debug, Clone, PartialEq)]
pub struct Repaired {
    /// Its bytes, which have been read again: a graph that can run. As they were, where nothing was mended.
    pub bytes: Vec<u8>,
    /// What was done, in the order of the file.
    pub changes: Vec<Change>,
    /// What was left, with the reason.
    pub left: Vec<Left>,
    /// What is found in it now.
    pub after: Inspection,
}

/// A batch norm, and whether its statistics can be measured by running the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurable {
    /// Its name, as [`ModelFile::inspect`] has it.
    pub name: String,
    /// The place of its node in the model's graph, or why it cannot be measured.
    pub node: Result<usize, &'static str>,
}

/// A model file that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another kind of file.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// A file of ONNX that is larger than protobuf allows.
    #[error(
        "expected a file of at most {LARGEST} bytes, as protobuf has them, got {0}; larger models keep their tensors in other files"
    )]
    Large(u64),
    /// Bytes that are no model of ONNX.
    #[error("expected a model of ONNX: {0}")]
    Onnx(#[from] ReadError),
    /// A graph that cannot run.
    #[error("expected a graph that can run: {0}")]
    Graph(#[from] GraphError),
    /// More parts than a model of its size has.
    #[error(transparent)]
    Parts(#[from] TooMuch),
    /// No safetensors file.
    #[error("expected a safetensors file: {0}")]
    Safetensors(#[from] SafetensorsError),
    /// No index of safetensors files, or one that does not fit them.
    #[error(transparent)]
    Shards(#[from] ShardsError),
    /// No file of PyTorch.
    #[cfg(feature = "pth")]
    #[error("expected a file of PyTorch: {0}")]
    Pth(#[from] weights::PthError),
    /// A file of PyTorch, of which this program can read none.
    #[error(
        "this program was built without the feature `pth`, by which files of PyTorch are read; save it as safetensors"
    )]
    WithoutPth,
    /// Weights, which say nothing of the layers beside a norm.
    #[error("expected a model with a graph (ONNX), got {}, which says nothing of the layers beside a norm; export the network as ONNX", .0.name())]
    NoGraph(Kind),
    /// Tensors in other files, which a copy elsewhere would not find.
    #[error("its tensors are in {data} beside it; write the copy into the same folder, where it finds them")]
    DataElsewhere {
        /// One of the files.
        data: String,
    },
    /// What folding it met.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// Statistics that cannot be put into it.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    /// What was written cannot run: a mistake of this program.
    #[error("the changed model cannot run: {why}; this is a mistake of this program, and nothing is written")]
    Written {
        /// What is wrong with it.
        why: String,
    },
}

impl ModelFile {
    /// Opens a file. Of ONNX all bytes are read, of others what they say of their tensors.
    ///
    /// # Errors
    /// What the system says; a file of another kind, or a damaged one.
    pub fn open(path: &Path) -> Result<ModelFile, FileError> {
        let kind = Kind::of(path)?;
        let size = whole::open(path)?.metadata()?.len();
        let content = match kind {
            Kind::Onnx => {
                let bytes = whole::read(path, LARGEST)?;
                if bytes.len() as u64 > LARGEST {
                    return Err(FileError::Large(size));
                }
                Content::Onnx(bytes)
            }
            Kind::Safetensors => Content::Weights(weights::read_safetensors(path)?),
            Kind::SafetensorsIndex => Content::Weights(weights::read_shards(path)?),
            #[cfg(feature = "pth")]
            Kind::PyTorch => Content::Weights(weights::read_pth(path)?),
            #[cfg(not(feature = "pth"))]
            Kind::PyTorch => return Err(FileError::WithoutPth),
        };
        let size = match (&content, kind) {
            (Content::Weights(weights), Kind::SafetensorsIndex) => {
                weights.tensors.iter().map(weights::Named::bytes).fold(size, u64::saturating_add)
            }
            _ => size,
        };
        Ok(ModelFile { path: path.to_owned(), kind, size, content })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its tensors, if it has no graph.
    pub fn weights(&self) -> Option<&Weights> {
        match &self.content {
            Content::Weights(weights) => Some(weights),
            Content::Onnx(_) => None,
        }
    }

    /// Its bytes, if it is a model of ONNX.
    pub fn onnx(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Onnx(bytes) => Some(bytes),
            Content::Weights(_) => None,
        }
    }

    /// Looks at its batch norms.
    ///
    /// # Errors
    /// No model; a graph that cannot run; more parts, or more batch norms, than any model has.
    pub fn inspect(&self) -> Result<Inspection, FileError> {
        let (maker, opset, layers) = match &self.content {
            Content::Onnx(bytes) => {
                let mut budget = Budget::of(bytes.len());
                let model = Model::read_within(bytes, &mut budget)?;
                model.check()?;
                let layers = layers::of_graph(
                    &model,
                    bytes,
                    &|name, offset, length| self.elsewhere(name, offset, length),
                    &mut budget,
                )?;
                let maker =
                    format!("{} {}", excerpt(model.producer), excerpt(model.producer_version)).trim().to_owned();
                ((!maker.is_empty()).then_some(maker), Some(model.opset()), layers)
            }
            Content::Weights(weights) => {
                let norms = weights.norms();
                let mut budget = Budget::of(usize::try_from(self.size).unwrap_or(usize::MAX));
                (None, None, layers::of_weights(weights, &norms, self.size, &mut budget)?)
            }
        };
        let findings = health::findings(&layers);
        Ok(Inspection { head: Head { kind: self.kind, size: self.size, maker, opset }, layers, findings })
    }

    /// Folds its batch norms into the layers beside them ([`fold`](mod@crate::fold)).
    ///
    /// # Errors
    /// No model with a graph; otherwise as [`inspect`](Self::inspect), and what [`fold::fold`] says.
    pub fn fold(&self, to_mul_and_add: bool) -> Result<Folding, FileError> {
        let (model, bytes) = self.graph()?;
        model.check()?;
        let elsewhere = |name: &str, offset, length| self.elsewhere(name, offset, length);
        Ok(fold::fold(&model, bytes, &elsewhere, to_mul_and_add)?)
    }

    /// Mends what is wrong with its batch norms and has one right answer ([`repair`](mod@crate::repair)).
    ///
    /// # Errors
    /// No model with a graph; otherwise as [`inspect`](Self::inspect); a mended model that cannot be read or run, which would be a mistake
    /// of this program.
    pub fn repair(&self) -> Result<Repaired, FileError> {
        let (model, bytes) = self.graph()?;
        let Inspection { layers, .. } = self.inspect()?;
        let elsewhere = |name: &str, offset, length| self.elsewhere(name, offset, length);
        let repair = repair::repair(&model, bytes, &elsewhere, &layers).map_err(|error| match error {
            RepairError::Wire(error) => FileError::from(ReadError::from(error)),
            RepairError::Parts(error) => error.into(),
        })?;
        let bytes = written_again(bytes, |out| repair.write(bytes, out))?;
        let mended = ModelFile {
            path: self.path.clone(),
            kind: self.kind,
            size: bytes.len() as u64,
            content: Content::Onnx(bytes),
        };
        let after = mended.inspect()?;
        let Content::Onnx(bytes) = mended.content else { return Err(FileError::NoGraph(self.kind)) };
        Ok(Repaired { bytes, changes: repair.changes, left: repair.left, after })
    }

    /// Its batch norms, in the order of the file, with whether their statistics can be measured.
    ///
    /// # Errors
    /// No model with a graph.
    pub fn measurable(&self) -> Result<Vec<Measurable>, FileError> {
        let (model, bytes) = self.graph()?;
        model.check()?;
        let mut norms = Vec::new();
        let mut budget = Budget::of(bytes.len());
        let elsewhere = |name: &str, offset, length| self.elsewhere(name, offset, length);
        layers::each(&model, bytes, &elsewhere, &mut budget, &mut |found| {
            let node = match (found.node, found.mode) {
                (None, _) => Err("it is inside a function or a graph within a node, which are not measured"),
                (_, Mode::TrainingOfConstants) => Err("it normalises constants, and no data"),
                (_, Mode::TrainingOfInstances) => {
                    Err("it is an instance norm, which has no use for running statistics")
                }
                _ if found.by_position => Err("its statistics are of each position (spatial 0)"),
                _ if found.parameters.is_err() => {
                    Err("its vectors are no constants of the file, or not of one length (`inspect` says which)")
                }
                (Some(node), _) => Ok(node),
            };
            norms.push(Measurable { name: found.name, node });
        })?;
        Ok(norms)
    }

    /// Its bytes with other statistics in some norms, by the places of their nodes ([`statistics::put`]), which have been read again.
    ///
    /// # Errors
    /// No model with a graph; norms whose statistics are no constants.
    pub fn with_statistics(&self, changes: &[(usize, Statistics)]) -> Result<Vec<u8>, FileError> {
        let (model, bytes) = self.graph()?;
        let elsewhere = |name: &str, offset, length| self.elsewhere(name, offset, length);
        let edits = statistics::put(&model, bytes, &elsewhere, changes)?;
        written_again(bytes, |out| edits.write(bytes, out))
    }

    /// Its bytes with the statistics of before that are in its metadata ([`statistics::roll_back`]), and how many norms have them.
    ///
    /// # Errors
    /// No model with a graph; none that has such metadata.
    pub fn rolled_back(&self) -> Result<(Vec<u8>, usize), FileError> {
        let (model, bytes) = self.graph()?;
        let (edits, norms) = statistics::roll_back(&model, bytes)?;
        Ok((written_again(bytes, |out| edits.write(bytes, out))?, norms))
    }

    /// A note of a model of ONNX, by its name.
    ///
    /// # Errors
    /// No model.
    pub fn metadata(&self, key: &str) -> Result<Option<String>, FileError> {
        let Content::Onnx(bytes) = &self.content else { return Ok(None) };
        let model = Model::read(bytes)?;
        Ok(model.metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned()))
    }

    fn graph(&self) -> Result<(Model<'_>, &[u8]), FileError> {
        match &self.content {
            Content::Onnx(bytes) => Ok((Model::read(bytes)?, bytes)),
            Content::Weights(_) => Err(FileError::NoGraph(self.kind)),
        }
    }

    /// Makes sure that a copy of this model at another path finds the files that it has tensors in.
    ///
    /// # Errors
    /// Tensors in other files, which are not in the folder of that path.
    pub fn expect_data_beside(&self, path: &Path) -> Result<(), FileError> {
        let Content::Onnx(bytes) = &self.content else { return Ok(()) };
        let external = locations(&Model::read(bytes)?).first().map(|name| excerpt(name));
        let folder = |path: &Path| {
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).canonicalize()
        };
        match external {
            Some(data) if folder(path)? != folder(&self.path)? => Err(FileError::DataElsewhere { data }),
            _ => Ok(()),
        }
    }

    /// The files that it has tensors in, beside its own.
    pub fn data_files(&self) -> Vec<PathBuf> {
        let Content::Onnx(bytes) = &self.content else { return Vec::new() };
        let Ok(model) = Model::read(bytes) else { return Vec::new() };
        locations(&model).iter().map(|name| self.path.with_file_name(name)).collect()
    }

    /// Its bytes, folded, which have been read again: a graph that can run.
    ///
    /// # Errors
    /// No model with a graph; a folded model that cannot be read or run, which would be a mistake of this program.
    pub fn folded_bytes(&self, folding: &Folding) -> Result<Vec<u8>, FileError> {
        let (_, bytes) = self.graph()?;
        written_again(bytes, |out| folding.write(bytes, out))
    }

    /// The vectors of the batch norm of a name, as [`inspect`](Self::inspect) calls it; none if there is no such layer.
    ///
    /// # Errors
    /// No model. Within: why the vectors cannot be read.
    pub fn parameters(&self, name: &str) -> Result<Option<Result<Parameters<'_>, String>>, FileError> {
        match &self.content {
            Content::Onnx(bytes) => {
                let model = Model::read(bytes)?;
                let elsewhere = |name: &str, offset, length| self.elsewhere(name, offset, length);
                Ok(layers::parameters_of_graph(&model, bytes, &elsewhere, name))
            }
            Content::Weights(weights) => {
                let norm = weights.norms().into_iter().find(|norm| norm.name == name);
                Ok(norm.map(|norm| layers::parameters_of_weights(weights, &norm)))
            }
        }
    }

    /// Bytes of a tensor whose values are in another file, in the folder of this one.
    ///
    /// # Errors
    /// Another folder; what the system says.
    pub fn elsewhere(&self, name: &str, offset: u64, length: Option<u64>) -> Result<Vec<u8>, String> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        beside::read(folder, name, offset, length).map_err(|error| error.to_string())
    }
}

/// A changed file, which is read again: it must be a graph that can run.
fn written_again(bytes: &[u8], write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<Vec<u8>, FileError> {
    let mut written = Vec::with_capacity(bytes.len());
    write(&mut written)?;
    let read = Model::read(&written).map_err(|error| error.to_string());
    let runs = read.and_then(|model| model.check().map_err(|error| error.to_string()));
    runs.map_err(|why| FileError::Written { why })?;
    Ok(written)
}

/// The files that tensors of a model have their values in, by name.
fn locations<'f>(model: &Model<'f>) -> BTreeSet<&'f str> {
    let mut found = BTreeSet::new();
    let graphs = std::iter::once(&model.graph).chain(model.functions.iter().map(|function| &function.graph));
    graphs.for_each(|graph| data_files(graph, &mut found));
    found
}

/// The files that tensors of a graph, and of those within it, have their values in.
fn data_files<'f>(graph: &Graph<'f>, found: &mut BTreeSet<&'f str>) {
    found.extend(graph.initializers.iter().filter_map(Tensor::location));
    for node in &graph.nodes {
        let own = node.attributes.iter().filter_map(|attribute| match &attribute.value {
            AttributeValue::Tensor(tensor) => tensor.location(),
            _ => None,
        });
        found.extend(own);
        node.graphs().for_each(|(_, inner)| data_files(inner, found));
    }
}
